"""Whole workers on our Redis transport: killed, beside Celery's worker, and with tasks for later."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import WorkerProcess, running_worker, until

pytest.importorskip("bootsteps_transport_redis")
redis = pytest.importorskip("redis")

APP = """
    import os, time
    import redis
    from bootsteps_tasks import App
    app = App("proj", broker_transport_options={options!r}, task_ignore_result=True, worker_redelivered_limit=1000)
    server = None

    def done(key, value):
        global server
        if server is None:
            server = redis.Redis.from_url({url!r})
        server.rpush(key, value)

    @app.task
    def mark(number):
        done("marks", number)

    @app.task
    def nap(seconds):
        done("naps", os.getpid())
        time.sleep(seconds)
        done("ends", os.getpid())
"""


@pytest.fixture
def url(redis_url: str) -> Iterator[str]:
    mine = redis_url.rpartition("/")[0] + "/10"
    with redis.Redis.from_url(mine) as server:
        server.flushdb()
        yield mine
        server.flushdb()


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def producer(url: str) -> Iterator[App]:
    app = App("proj", broker_url=url)
    yield app
    app.close()


def kids(worker: WorkerProcess) -> list[int]:
    try:
        return worker.children()
    except OSError:
        return []


def until_gone(pids: list[int]) -> None:
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the children's end")


def test_killing_workers_and_children_loses_none_of_20000_tasks(
    tmp_path: Path, url: str, server: Any, producer: App
) -> None:
    app = textwrap.dedent(APP).format(url=url, options={"lease": 1.0})
    (tmp_path / "proj.py").write_text(app)
    total, kills = 20_000, 0
    producer.send_many(("proj.mark", (number,), {}, {}) for number in range(total))
    worker = WorkerProcess(tmp_path, "-c", "2", "-l", "WARNING", broker=url)
    ends = time.monotonic() + 100
    try:
        while server.llen("celery") + server.hlen("unacked"):
            assert time.monotonic() < ends, f"{server.llen('marks')} done, {kills} kills"
            time.sleep(0.01)
            left = server.llen("celery")
            if kills < 8 and left < total - (kills + 1) * 2_000:
                kills += 1
                victims = kids(worker)
                if kills % 4 == 0 and victims:
                    os.kill(victims[0], signal.SIGKILL)
                    continue
                worker.kill()
                until_gone(victims)
                worker = WorkerProcess(tmp_path, "-c", "2", "-l", "WARNING", broker=url)
    finally:
        worker.kill()
    assert kills == 8
    marks = {int(mark) for mark in server.lrange("marks", 0, -1)}
    assert marks == set(range(total))


CELERY = """
    from celery import Celery
    app = Celery("proj", broker={url!r})
    app.conf.broker_transport_options = {options!r}
    import redis

    @app.task(name="proj.mark", acks_late=True)
    def mark(number):
        redis.Redis.from_url({url!r}).rpush("marks", number)

    @app.task(name="proj.nap", acks_late=True)
    def nap(seconds):
        redis.Redis.from_url({url!r}).rpush("celery naps", seconds)
"""


def celery_worker(folder: Path, url: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start Celery's own worker on Celery's own transport."""
    pytest.importorskip("celery")
    options |= {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    (folder / "celery_proj.py").write_text(textwrap.dedent(CELERY).format(url=url, options=options))
    words = ["celery", "-A", "celery_proj", "worker", "-P", "solo", "--without-mingle", "--without-gossip"]
    with (folder / "celery.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT)


def test_a_task_longer_than_the_visibility_timeout_runs_once_beside_celery(
    tmp_path: Path, url: str, server: Any, producer: App
) -> None:
    app = APP.format(url=url, options={"lease": 1.0, "visibility_timeout": 2})
    with running_worker(tmp_path, "-c", "1", app=app, broker=url) as ours:
        producer.send_task("proj.nap", (8,))
        until(lambda: server.llen("naps") == 1, "the task's start")
        theirs = celery_worker(tmp_path, url, visibility_timeout=2)
        try:
            producer.send_many(("proj.mark", (number,), {}, {}) for number in range(20))
            until(lambda: server.llen("marks") == 20, "the work of the other")
            until(lambda: server.llen("ends") == 1, "the task's end")
            until(lambda: not server.exists("unacked"), "its acknowledgement")
        finally:
            theirs.terminate()
            theirs.wait(30)
        assert server.llen("naps") == 1
        assert server.llen("celery naps") == 0
        assert "brought back" not in ours.log


def test_celery_takes_over_what_our_dead_worker_held(tmp_path: Path, url: str, server: Any, producer: App) -> None:
    app = APP.format(url=url, options={"visibility_timeout": 2})
    with running_worker(tmp_path, "-c", "1", app=app, broker=url) as ours:
        for number in range(3):
            producer.send_task("proj.nap", (60 + number,))
        until(lambda: server.llen("naps") == 1 and server.hlen("unacked") == 3, "the task's start")
        victims = kids(ours)
        ours.kill()
        until_gone(victims)
    theirs = celery_worker(tmp_path, url, visibility_timeout=2)
    try:
        until(lambda: server.llen("celery naps") == 3, "the takeover")
        until(lambda: not server.exists("unacked"), "the acknowledgement")
    finally:
        theirs.terminate()
        theirs.wait(30)


def test_a_worker_that_slept_is_relieved_and_then_goes_on(tmp_path: Path, url: str, server: Any, producer: App) -> None:
    app = APP.format(url=url, options={"lease": 1.0})
    with running_worker(tmp_path, "-c", "1", app=app, broker=url) as ours:
        producer.send_task("proj.nap", (1,))
        until(lambda: server.llen("naps") == 1, "the task's start")
        ours.signal(signal.SIGSTOP)
        (tmp_path / "other").mkdir()
        with running_worker(tmp_path / "other", "-c", "1", app=app, broker=url) as other:
            until(lambda: server.llen("naps") == 2, "the takeover")
            until(lambda: not server.exists("unacked"), "its acknowledgement")
            assert other.stop() == 0
        ours.signal(signal.SIGCONT)
        ours.until_logged("the lease on what this process holds is over")
        producer.send_task("proj.mark", (2,))
        until(lambda: server.llen("marks") == 1, "its work")
        until(lambda: not server.exists("unacked"), "its acknowledgement")


def test_a_long_task_on_the_solo_pool_keeps_its_lease(tmp_path: Path, url: str, server: Any, producer: App) -> None:
    app = APP.format(url=url, options={"lease": 1.0})
    with running_worker(tmp_path, "-P", "solo", app=app, broker=url):
        producer.send_task("proj.nap", (4,))
        until(lambda: server.llen("naps") == 1, "the task's start")
        (tmp_path / "other").mkdir()
        with running_worker(tmp_path / "other", "-c", "1", app=app, broker=url):
            until(lambda: server.llen("ends") == 1, "the task's end")
            until(lambda: not server.exists("unacked"), "its acknowledgement")
    assert server.llen("naps") == 1


def test_tasks_for_later_wait_in_redis_and_run_on_time(tmp_path: Path, url: str, server: Any, producer: App) -> None:
    text = APP.format(url=url, options={"lease": 1.0}) + "\n    app.conf.worker_eta_horizon = 1.0\n"
    with running_worker(tmp_path, "-c", "1", app=text, broker=url) as worker:
        producer.send_task("proj.mark", (0,))
        until(lambda: server.llen("marks") == 1, "the first task")
        before = resident_kb(worker.process.pid)
        producer.send_many(("proj.mark", (number,), {}, {"countdown": 3600}) for number in range(10_000))
        due = time.time() + 4
        producer.send_task("proj.mark", (1,), countdown=4)
        until(lambda: server.llen("celery") == 0, "the intake")
        assert resident_kb(worker.process.pid) - before < 8_000
        until(lambda: server.llen("marks") == 2, "the task whose time has come")
        assert due - 0.1 <= time.time() < due + 1
        until(lambda: server.hlen("unacked") == 10_000, "its acknowledgement")
        assert not server.keys("_bootsteps.held.*")


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize(("scheme", "tls"), [("rediss", False), ("redis", True), ("rediss", {})])
def test_no_password_goes_out_in_the_clear_where_tls_is_asked_for(scheme: str, tls: Any) -> None:
    """What an application of ours says first to a server."""
    app = App(broker_use_ssl=tls)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app.conf.broker_url = f"{scheme}://:secret@127.0.0.1:{listener.getsockname()[1]}/0"
        heard: list[bytes] = []

        def hear() -> None:
            peer, _ = listener.accept()
            with peer:
                heard.append(peer.recv(1 << 16))

        listening = threading.Thread(target=hear)
        listening.start()
        with app.connection() as connection, pytest.raises(connection.connection_errors):
            connection.connect()
        listening.join(10)
    assert heard[0][:1] == b"\x16"  # a handshake of TLS
    assert b"secret" not in heard[0]
