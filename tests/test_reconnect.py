"""The broker goes away and comes back: consuming again within five seconds, nothing lost, one log line each."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootsteps_tasks import App
from services import free_port
from workers import running_worker, until

APP = """
    import bootsteps
    from bootsteps_tasks import App
    app = App("proj")

    class InfoStep(bootsteps.Step):
        def start(self, parent):
            print("{0!r} is starting".format(parent))
        def stop(self, parent):
            print("{0!r} is stopping".format(parent))
        def shutdown(self, parent):
            print("{0!r} is shutting down".format(parent))

    app.steps["worker"].add(InfoStep)
    app.steps["consumer"].add(InfoStep)

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def nap(seconds):
        import time
        time.sleep(seconds)
        return seconds
"""


class Redis:
    """A redis-server on one port that keeps its data over restarts."""

    def __init__(self, folder: Path) -> None:
        import shutil

        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed; try: apt-get install redis-server")
        self._words = [program, "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", ""]
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self._words, "--port", str(self.port), "--appendfsync", "always"], stdout=subprocess.DEVNULL
        )
        until(self._answers, "Redis")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Redis(folder)
    yield server
    server.stop()


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_broker_restart_is_survived(tmp_path, redis, monkeypatch, pool):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    client = App("proj", broker=redis.url)
    with running_worker(tmp_path, "-P", pool, "-n", "w@h", app=APP, broker=redis.url) as worker:
        assert client.send_task("proj.add", (1, 1)).get(timeout=10) == 2
        redis.stop()
        worker.until_logged("<Consumer of w@h> is stopping")
        worker.until_logged("cannot connect to")
        redis.start()
        back = time.monotonic()
        worker.until_logged("<Consumer of w@h> is starting", times=2)
        assert client.send_task("proj.add", (2, 2)).get(timeout=10) == 4
        assert time.monotonic() - back < 5
        assert worker.log.count(" lost: ") == 1
        assert "<Worker w@h> is stopping" not in worker.log
        assert "is shutting down" not in worker.log
        assert worker.stop() == 0
    lines = [line for line in worker.log.splitlines() if line.startswith("<")]
    assert lines == [
        "<Worker w@h> is starting", "<Consumer of w@h> is starting",
        "<Consumer of w@h> is stopping", "<Consumer of w@h> is starting",
        "<Consumer of w@h> is stopping", "<Worker w@h> is stopping", "<Consumer of w@h> is shutting down",
    ]  # fmt: skip
    client.close()


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(tmp_path, redis, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    redis.stop()
    with running_worker(tmp_path, "-P", "solo", app=APP, broker=redis.url, ready=False) as worker:
        worker.until_logged("cannot connect to")
        redis.start()
        client = App("proj", broker=redis.url)
        assert client.send_task("proj.add", (1, 1)).get(timeout=10) == 2
        assert worker.stop() == 0
        client.close()


def test_a_worker_without_its_broker_still_stops(tmp_path, redis):
    with running_worker(tmp_path, "-P", "solo", app=APP, broker=redis.url) as worker:
        redis.stop()
        worker.until_logged("cannot connect to")
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 5


def test_a_task_that_ran_while_the_broker_was_away_is_not_lost(tmp_path, redis, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    client = App("proj", broker=redis.url)
    with running_worker(tmp_path, "-c", "1", app=APP, broker=redis.url) as worker:
        nap = client.send_task("proj.nap", (1.0,))
        worker.until_logged("received")
        redis.stop()
        worker.until_logged("cannot connect to")
        assert nap.get(timeout=10) == 1.0  # the child stores the result whatever the broker does
        redis.start()
        assert client.send_task("proj.add", (1, 1)).get(timeout=10) == 2
    client.close()
