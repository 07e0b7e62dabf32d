"""Tasks that kill: counted before the run, tried again a few times, then parked; never lost and never looping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Exchange, Queue

from bootsteps_tasks import App
from workers import running_worker, until

pytest.importorskip("bootsteps_worker_pool_prefork")

APP = """
    import os, signal
    from bootsteps_tasks import App
    app = App("proj", task_default_queue={queue!r}, control_exchange={queue!r}, worker_lost_limit=2,
              worker_redelivered_limit=2, worker_unknown_task_delays=(0.1, 0.1),
              broker_transport_options={options!r})

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def kill_child(mark):
        open(mark, "a").write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task
    def kill_all(mark):
        open(mark, "a").write("x")
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(reject_on_worker_lost=False)
    def lost_is_lost(mark):
        open(mark, "a").write("x")
        os.kill(os.getpid(), signal.SIGKILL)
"""

#: How soon kombu's Redis transport gives a dead worker's messages back; an hour by default.
REDIS_OPTIONS = {"visibility_timeout": 1, "unacked_restore_interval": 0.1}


class Site:
    """An application, its broker and its worker."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.queue = f"quarantine-{os.getpid()}-{time.monotonic_ns()}"
        self.mark = folder / "mark"
        options = REDIS_OPTIONS if url.startswith("redis") else {}
        self.text = APP.format(queue=self.queue, options=options)
        settings: Any = {"broker_url": url} if url else {}
        self.app = App("proj", task_default_queue=self.queue, **settings)

    def runs(self) -> int:
        return len(self.mark.read_text()) if self.mark.exists() else 0

    def parked(self) -> list[Any]:
        """The messages in quarantine, which stay there."""
        return list(filter(None, [self.waiting(f"{self.queue}.quarantine")]))

    def waiting(self, name: str) -> Any:
        """The first message of a queue, which stays there."""
        with self.app.connection() as connection:
            queue = Queue(name, Exchange(""), routing_key=name)(connection.channel())
            queue.queue_declare()
            message = queue.get()
            if message is not None:
                message.requeue()
            return message


@pytest.fixture(params=["redis", "amqp", "sqlite"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = "" if request.param == "sqlite" else str(request.getfixturevalue(f"{request.param}_url"))
    site = Site(tmp_path, url)
    yield site
    site.app.close()


def command(site: Site, *words: str) -> str:
    """Return what `kernel quarantine ...` prints."""
    env = os.environ | {"PYTHONPATH": str(site.folder)} | ({"KERNEL_BROKER_URL": site.url} if site.url else {})
    words = ("-A", "proj", "quarantine", *words)
    done = subprocess.run(
        [sys.executable, "-m", "bootsteps", *words], cwd=site.folder, env=env, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def worker(site: Site, **options: Any) -> Any:
    return running_worker(site.folder, "-c", "1", app=site.text, broker=site.url, **options)


def test_a_task_that_kills_its_child_is_parked_after_the_limit(site):
    with worker(site) as running:
        deadly = site.app.send_task("proj.kill_child", (str(site.mark),), priority=3, compression="gzip")
        with pytest.raises(Exception, match="signal 9") as caught:
            deadly.get(timeout=30)
        assert type(caught.value).__name__ == "WorkerLostError"
        running.until_logged("is in quarantine")
        assert site.app.send_task("proj.add", (1, 2)).get(timeout=20) == 3
        assert running.stop() == 0
    assert site.runs() == 3
    [message] = site.parked()
    headers = message.headers
    assert headers["id"] == deadly.id
    assert headers["task"] == "proj.kill_child"
    assert headers["x-bootsteps-quarantine-attempts"] == 3
    assert headers["x-bootsteps-quarantine-reason"].startswith("lost: child ")
    assert headers["x-bootsteps-quarantine-queue"] == site.queue
    assert f"proj.kill_child[{deadly.id}]" in command(site, "list")
    assert command(site, "drop", "another-id") == ""
    assert json.loads(command(site, "release", deadly.id, "--json"))["attempts"] == 3
    assert (site.parked(), command(site, "list")) == ([], "")
    released = site.waiting(site.queue)
    assert {name: headers[name] for name in released.headers} == released.headers
    assert not [name for name in released.headers if name.startswith("x-bootsteps")]
    body = released.body.decode() if isinstance(released.body, bytes) else released.body
    assert str(site.mark) in body


def test_a_task_that_kills_the_whole_worker_is_parked_too(site):
    """The count survives though nobody that knows it does."""
    deadly = site.app.send_task("proj.kill_all", (str(site.mark),))
    for _ in range(3):
        runs = site.runs()
        with worker(site, ready=False) as running:
            assert running.wait() == -9
        assert site.runs() == runs + 1
    with worker(site) as running:
        running.until_logged("is in quarantine")
        assert site.app.send_task("proj.add", (1, 2)).get(timeout=20) == 3
        assert running.stop() == 0
    assert site.runs() == 3
    [message] = site.parked()
    assert message.headers["id"] == deadly.id
    assert "never acknowledged" in message.headers["x-bootsteps-quarantine-reason"]
    assert deadly.state == "FAILURE"


def test_a_task_that_nobody_knows_is_parked_and_its_caller_told(site):
    with worker(site) as running:
        unknown = site.app.send_task("proj.nobody", ())
        with pytest.raises(Exception, match="nobody") as caught:
            unknown.get(timeout=20)
        assert type(caught.value).__name__ == "NotRegistered"
        running.until_logged("is in quarantine")
        assert running.log.count("is not registered in this worker; it goes back") == 2
    until(site.parked)


def test_a_task_that_is_not_to_be_tried_again_fails_at_once(site):
    with worker(site):
        lost = site.app.send_task("proj.lost_is_lost", (str(site.mark),))
        with pytest.raises(Exception, match="signal 9"):
            lost.get(timeout=20)
        assert site.app.send_task("proj.add", (1, 2)).get(timeout=20) == 3
    assert (site.runs(), site.parked()) == (1, [])
