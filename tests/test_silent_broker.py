"""A broker that goes silent without a word (stopped, or behind a cable that swallows): the worker's loop goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from bootsteps_tasks import App
from cable import Cable
from services import redis_server
from workers import running_worker

socket_plugin = pytest.importorskip("bootsteps_control_socket")

#: The loop may stand still so long, once, to find out (5 s) and to leave (1 s); and so long in all: each of the other
#: connections (events, remote control) takes a second or two to find out for itself.
STALL_S, STALLED_S = 7.0, 11.0

APP = """
    import time
    import bootsteps
    from bootsteps import TIMER
    from bootsteps_tasks import App
    app = App("proj", task_default_queue={name!r}, control_exchange={name!r} + "-c", event_exchange={name!r} + "-e")

    class Pulse(bootsteps.StartStopStep):
        requires = (TIMER,)
        def start(self, worker):
            self.file = open("pulse", "a", buffering=1)
            worker.timer.call_repeatedly(0.05, lambda: print(time.monotonic(), file=self.file))

    app.steps["worker"].add(Pulse)

    @app.task
    def add(x, y):
        return x + y
"""


@pytest.fixture
def name() -> str:
    return f"silent-{os.getpid()}-{time.monotonic_ns()}"


def stalls(folder: Path, since: float) -> list[float]:
    """How long the loop stood still each time, if it was more than 0.5 s."""
    beats = [float(line) for line in (folder / "pulse").read_text().splitlines() if line.strip()]
    gaps = (later - earlier for earlier, later in pairwise([*beats, time.monotonic()]) if later > since)
    return [gap for gap in gaps if gap > 0.5]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A Redis of this test's own: its URL and process id."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as url:
        port = url.rpartition(":")[2].partition("/")[0]
        yield url, _listening(int(port))


def _listening(port: int) -> int:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"redis-server" in words and str(port).encode() in words:
            return int(path.parent.name)
    raise AssertionError(f"no redis-server on port {port}")


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_a_stopped_redis_does_not_stop_the_loop(
    tmp_path: Path, redis: tuple[str, int], name: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url, pid = redis
    client = App("proj", broker=url, task_default_queue=name)
    with (
        closing(client),
        running_worker(tmp_path, "-P", pool, "-c", "1", "-n", f"{name}@h", app=APP.format(name=name), broker=url) as w,
    ):
        assert client.send_task("proj.add", (1, 1)).get(timeout=20) == 2
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            w.until_logged(" lost: ", limit_s=20)
            w.until_logged("cannot connect to", times=2, limit_s=30)
            found = stalls(tmp_path, began)
            assert max(found) < STALL_S, found
            assert sum(found) < STALLED_S, found
            assert socket_plugin.ask(socket_plugin.find(f"{name}@h"), "ping", {}) == {f"{name}@h": {"ok": "pong"}}
        finally:
            os.kill(pid, signal.SIGCONT)
        assert client.send_task("proj.add", (2, 2)).get(timeout=15) == 4
        assert w.log.count(" lost: ") == 1
        assert w.stop() == 0


def test_a_warm_stop_does_not_wait_for_a_stopped_redis(tmp_path: Path, redis: tuple[str, int], name: str) -> None:
    url, pid = redis
    with running_worker(tmp_path, "-P", "solo", "-n", f"{name}@h", app=APP.format(name=name), broker=url) as worker:
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - began < 10
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_warm_stop_does_not_wait_for_a_silent_rabbitmq(tmp_path: Path, amqp_url: str, name: str) -> None:
    cable = Cable(amqp_url)
    with running_worker(tmp_path, "-P", "solo", "-n", f"{name}@h", app=APP.format(name=name), broker=cable.url) as w:
        w.until_logged("the mailbox is open")
        cable.swallow()
        began = time.monotonic()
        assert w.stop() == 0
        assert time.monotonic() - began < 8
        assert w.log.count("Traceback") == 0
    cable.cut()


def test_a_silent_rabbitmq_is_noticed_and_left_for_one_that_answers(
    tmp_path: Path, amqp_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cable = Cable(amqp_url)
    client = App("proj", broker=amqp_url, task_default_queue=name, result_backend="rpc://")
    node = f"{name}@h"
    with (
        closing(client),
        running_worker(
            tmp_path, "-c", "1", "-n", node, app=APP.format(name=name), broker=cable.url, backend="rpc://"
        ) as worker,
    ):
        worker.until_logged("the mailbox is open")
        assert client.send_task("proj.add", (1, 1)).get(timeout=10) == 2
        began = time.monotonic()
        cable.swallow(new=False)
        client.send_task("proj.add", (2, 2), task_id="delivered-into-the-void")
        worker.until_logged("consuming from", times=2, limit_s=20)
        assert time.monotonic() - began < 15
        worker.until_logged("the mailbox is open", times=2, limit_s=20)
        worker.until_logged("[delivered-into-the-void] succeeded")
        assert worker.log.count(" lost: ") == 1
        assert sum(stalls(tmp_path, began)) < STALLED_S
        assert worker.stop() == 0
    cable.cut()
