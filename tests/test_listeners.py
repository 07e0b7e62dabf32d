"""A plugin without a step hears what happens: the group `kernel.hooks`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootsteps_tasks import App
from workers import running_worker

LISTENER = """
from bootsteps import hookimpl

class Tells:
    @hookimpl
    def worker_ready(self, worker):
        print("heard: ready", worker.hostname)

    @hookimpl
    def connection_established(self, url):
        print("heard: connected")

    @hookimpl
    def task_received(self, id, name):
        print("heard: received", name)

    @hookimpl
    def task_settled(self, request, state, runtime_s):
        print("heard: settled", request.name, state, runtime_s >= 0)

    @hookimpl
    def child_lost(self, reason):
        print("heard: lost", reason)

    @hookimpl
    def worker_stopping(self, how):
        print("heard: stopping", how)

class Fails:
    @hookimpl
    def worker_ready(self):
        raise RuntimeError("a listener's own bug")

tells, fails = Tells(), Fails()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    info = tmp_path / "site" / "their_listener-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-listener\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[kernel.hooks]\ntells = their_listener:tells\nfails = their_listener:fails\n"
    )
    (info.parent / "their_listener.py").write_text(LISTENER)
    return info.parent


def test_a_hooks_plugin_hears_and_a_failing_one_is_named(tmp_path: Path, site: Path, client: App) -> None:
    with running_worker(tmp_path, "-c", "1", "-n", "w@h", path=[site]) as worker:
        assert client.send_task("proj.add", (1, 1)).get(timeout=10) == 2
        worker.until_logged("heard: settled proj.add SUCCESS True")
        os.kill(worker.children()[0], 9)
        worker.until_logged("heard: lost child")
        assert worker.stop() == 0
        log = worker.log
    for line in ("heard: connected", "heard: ready w@h", "heard: received proj.add", "heard: stopping warm"):
        assert line in log
    assert "listener kernel.hooks:fails (their-listener 1.0) of worker_ready failed" in log
    assert "a listener's own bug" in log
