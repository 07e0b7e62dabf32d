"""Periodic tasks from `kernel beat` and from a worker, run by our workers and by Celery's."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from test_reconnect import redis  # noqa: F401 (a fixture)
from workers import WorkerProcess, running_worker, until

pytest.importorskip("bootsteps_worker_beat")
from bootsteps_tasks import App
from bootsteps_worker_beat.service import Service

APP = """
    import os, time
    from bootsteps_tasks import App
    from bootsteps_worker_beat import crontab
    app = App("proj", task_default_queue=os.environ.get("QUEUE", "celery"))

    @app.task
    def mark(name):
        with open(f"marks-{name}", "a") as file:
            file.write("x")

    app.conf.beat_schedule = {
        "often": {"task": "proj.mark", "schedule": 0.2, "args": ("often",)},
        "yearly": {"task": "proj.mark", "schedule": crontab(0, 0, day_of_month=1, month_of_year=1), "args": ("year",)},
    }

    @app.on_after_configure.connect
    def setup_periodic_tasks(sender, **kwargs):
        sender.add_periodic_task(0.5, mark.s("added"), name="add every half second")

    @app.hooks.connect("beat_init")
    def heard(service):
        open("beat-init", "w").write(" ".join(sorted(service.schedule)))

    @app.hooks.connect("beat_embedded_init")
    def heard_embedded(service):
        open("beat-embedded-init", "w").write("yes")
"""


def marks(folder: Path, name: str) -> int:
    path = folder / f"marks-{name}"
    return len(path.read_text()) if path.exists() else 0


@contextmanager
def beating(folder: Path, *args: str, broker: str = ""):
    beat = WorkerProcess(folder, command=("-A", "proj", "beat", "-l", "DEBUG", *args), broker=broker)
    try:
        beat.until_logged("periodic tasks")
        yield beat
    finally:
        if beat.process.poll() is None:
            beat.kill()


def test_beat_sends_and_our_worker_runs(tmp_path):
    with running_worker(tmp_path, "-c", "1", app=APP), beating(tmp_path, "-s", "my.db") as beat:
        until(lambda: marks(tmp_path, "often") >= 5 and marks(tmp_path, "added") >= 2)
        assert beat.stop() == 0
        assert "beat is gone." in beat.log
        assert "Scheduler: Sending due task often (proj.mark)" in beat.log
        assert "3 periodic tasks of proj" in beat.log
        assert marks(tmp_path, "year") == 0
    assert (tmp_path / "beat-init").read_text() == "add every half second often yearly"
    assert not (tmp_path / "beat-embedded-init").exists()
    assert (tmp_path / "my.db").exists()


def test_beat_sends_and_celerys_worker_runs(tmp_path, redis_url, monkeypatch):
    pytest.importorskip("celery")
    queue = f"beat-{os.getpid()}-{tmp_path.name}"
    monkeypatch.setenv("QUEUE", queue)
    peer = f"""
from celery import Celery
app = Celery("peer", broker={redis_url!r}, task_default_queue={queue!r})
@app.task(name="proj.mark", bind=True)
def mark(self, name):
    assert self.request.headers["celery_beat_task"] is True
    with open(f"marks-{{name}}", "a") as file:
        file.write("x")
"""
    (tmp_path / "peer.py").write_text(peer)
    (tmp_path / "proj.py").write_text("import textwrap\nexec(textwrap.dedent('''" + APP + "'''))\n")
    command = [sys.executable, "-m", "celery", "-A", "peer", "worker", "-P", "solo", "-l", "INFO", "--without-mingle"]
    with (tmp_path / "celery.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        with beating(tmp_path, broker=redis_url) as beat:
            until(lambda: marks(tmp_path, "often") >= 3 and marks(tmp_path, "added") >= 1)
            assert beat.stop() == 0
    finally:
        worker.terminate()
        worker.wait(30)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_sends_them_too(tmp_path, pool):
    size = () if pool == "solo" else ("-c", "1")
    with running_worker(tmp_path, "-B", "-P", pool, *size, app=APP) as worker:
        until(lambda: marks(tmp_path, "often") >= 5 and marks(tmp_path, "added") >= 2)
        assert worker.stop() == 0
    assert (tmp_path / "beat-embedded-init").exists()


def test_a_beat_that_was_killed_goes_on_where_it_was(tmp_path):
    (tmp_path / "proj.py").write_text(
        "from bootsteps_tasks import App\napp = App('proj', beat_schedule={'t': {'task': 'proj.t', 'schedule': 2.0}})\n"
    )

    def remembered():
        with sqlite3.connect(tmp_path / "beat-schedule.db") as db:
            return db.execute("SELECT total_run_count, last_run_at FROM entry").fetchone()

    with beating(tmp_path) as beat:
        until(lambda: remembered()[0] == 1)
        beat.kill()
    _, first = remembered()
    with beating(tmp_path) as beat:
        until(lambda: remembered()[0] == 2)
        assert beat.stop() == 0
    assert remembered()[1] == pytest.approx(first + 2.0, abs=1e-3), "not two seconds after its start"


def test_without_a_broker_the_tick_stays_due_until_there_is_one(tmp_path, redis):  # noqa: F811
    with running_worker(tmp_path, "-c", "1", app=APP, broker=redis.url) as worker:
        with beating(tmp_path, broker=redis.url) as beat:
            until(lambda: marks(tmp_path, "often") >= 2)
            redis.stop()
            beat.until_logged("could not be sent, and stays due")
            count = marks(tmp_path, "often")
            redis.start()
            until(lambda: marks(tmp_path, "often") > count + 2)
            assert beat.stop() == 0
            assert "Traceback" not in beat.log
        worker.stop()


def test_beat_needs_an_application_with_tasks(tmp_path):
    for args, says in ((["beat"], "is no application with tasks"), (["beat", "-S", "no:Such"], "no application")):
        ended = subprocess.run(
            [sys.executable, "-m", "bootsteps", *args], cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert (ended.returncode, says in ended.stderr) == (2, True), ended.stderr


def test_beat_answers_a_ping_and_leaves_the_rest_to_workers(tmp_path, redis_url):
    celery = pytest.importorskip("celery")
    name = f"beat-{os.getpid()}-{tmp_path.name}"
    asking = celery.Celery("client", broker=redis_url, control_exchange=name, broker_pool_limit=None)
    (tmp_path / "proj.py").write_text(
        "from bootsteps_tasks import App\nfrom bootsteps.cli import Option\n"
        f"app = App('proj', control_exchange={name!r}, beat_enable_remote_control=True)\n"
        "app.user_options['beat'].add(Option('--mine', help='of the application'))\n"
    )
    words = ("-n", "celerybeat@here", "--pidfile", "beat.pid", "-f", "beat.log", "--mine", "x")
    beat = WorkerProcess(tmp_path, command=("-A", "proj", "beat", "-l", "INFO", *words), broker=redis_url)
    try:
        until(lambda: (tmp_path / "beat.log").exists() and "answers ping as" in (tmp_path / "beat.log").read_text())
        assert asking.control.ping(timeout=10, limit=1) == [{"celerybeat@here": {"ok": "pong"}}]
        assert asking.control.inspect(timeout=0.5).active() is None
        assert int((tmp_path / "beat.pid").read_text()) == beat.process.pid
        second = WorkerProcess(tmp_path, command=("-A", "proj", "beat", "--pidfile", "beat.pid"), broker=redis_url)
        assert second.wait() == 2
        assert "beat.pid says that process" in second.log
        assert beat.stop() == 0
        assert not (tmp_path / "beat.pid").exists()
    finally:
        beat.process.kill()
        asking.close()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_says_nothing_keeps_nobody_waiting_for_long(tmp_path, scheme, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        app = App("proj", broker=url, beat_schedule={"t": {"task": "proj.t", "schedule": 0.01}})
        service = Service(app, schedule_filename=str(tmp_path / "beat.db"))
        service.open(app.hooks, embedded=True)
        until(lambda: service.scheduler.schedule["t"].is_due()[0])
        began = time.monotonic()
        assert service.tick() == pytest.approx(1.0, abs=0.1), "the pause before the next attempt"
        assert time.monotonic() - began < 4.0
        assert "t (proj.t) could not be sent, and stays due" in caplog.text
        assert service.scheduler.schedule["t"].total_run_count == 0
        service.close()
