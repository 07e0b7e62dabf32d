"""Time limits of real tasks in real workers, as a client sees them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App, errors
from workers import TASKS, running_worker

APP = (
    TASKS
    + """
    from bootsteps_tasks.errors import SoftTimeLimitExceeded

    @app.task
    def forever():
        while True:
            pass

    @app.task(time_limit=0.5)
    def forever_at_most():
        while True:
            pass

    @app.task(soft_time_limit=0.3, time_limit=20)
    def cleans_up():
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded as exc:
            return ["cleaned up", exc.args[0]]

    @app.task(soft_time_limit=0.2, time_limit=0.6)
    def stubborn():
        while True:
            try:
                time.sleep(60)
            except SoftTimeLimitExceeded:
                pass

    @app.task(acks_late=False)
    def early_nap(seconds):
        time.sleep(seconds)
"""
)


def send(app: App, name: str, *args: Any, **options: Any) -> Any:
    return app.send_task(f"proj.{name}", args, **options)


@pytest.mark.parametrize(("name", "args"), [("forever", ()), ("nap", (60,)), ("early_nap", (60,))])
def test_a_message_may_limit_its_task(tmp_path, client, name, args):
    with running_worker(tmp_path, "-c", "1", app=APP) as worker:
        (pid,) = worker.children()
        soft = send(client, name, *args, soft_time_limit=0.3)
        with pytest.raises(errors.SoftTimeLimitExceeded):
            soft.get(timeout=20)
        assert f"in {name}" in soft.traceback
        assert worker.children() == [pid], "a soft limit costs no child"
        hard = send(client, name, *args, time_limit=0.3)
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.3"):
            hard.get(timeout=20)
        assert hard.state == "FAILURE"
        assert send(client, "add", 1, 1).get(timeout=10) == 2
        assert worker.children() != [pid]
        assert worker.stop() == 0
        assert worker.log.count(f"[{soft.id}] reached its soft time limit of 0.3 s") == 1
        assert worker.log.count(f"[{hard.id}] was killed at its hard time limit of 0.3 s") == 1
        assert worker.log.count(f"Task proj.{name}[{hard.id}] received") == 1, "it is not tried again"


def test_a_task_has_limits_of_its_own(tmp_path, client):
    with running_worker(tmp_path, "-c", "1", app=APP) as worker:
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.5"):
            send(client, "forever_at_most").get(timeout=20)
        assert send(client, "cleans_up").get(timeout=20) == ["cleaned up", 0.3]
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.6"):
            send(client, "stubborn").get(timeout=20)
        assert worker.stop() == 0


def test_settings_limit_every_task_that_says_nothing(tmp_path, client):
    with running_worker(tmp_path, "-c", "2", "--time-limit", "2.5", "--soft-time-limit", "0.4", app=APP) as worker:
        with pytest.raises(errors.SoftTimeLimitExceeded, match=r"0\.4"):
            send(client, "forever").get(timeout=20)
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.2"):
            send(client, "forever", time_limit=0.2).get(timeout=20)
        assert send(client, "nap", 0.6, soft_time_limit=20).get(timeout=20) == 0.6
        with pytest.raises(errors.TimeLimitExceeded, match=r"2\.5"):
            send(client, "forever", soft_time_limit=20).get(timeout=20)
        assert worker.stop() == 0


def test_neighbours_of_a_killed_task_are_unharmed(tmp_path, client):
    with running_worker(tmp_path, "-c", "2", app=APP) as worker:
        neighbour = send(client, "nap", 3.0, str(tmp_path / "pids"))
        late = [send(client, "forever", time_limit=0.3) for _ in range(3)]
        adds = [send(client, "add", number, 1) for number in range(50)]
        for result in late:
            with pytest.raises(errors.TimeLimitExceeded):
                result.get(timeout=20)
        assert [result.get(timeout=20) for result in adds] == list(range(1, 51))
        assert neighbour.get(timeout=20) == 3.0
        assert len((tmp_path / "pids").read_text().split()) == 1, "it ran once"
        assert worker.stop() == 0


def refusal(tmp_path: Path, *args: str) -> str:
    """Start a worker that must refuse to start, and return what it says."""
    environment = dict(os.environ, XDG_STATE_HOME=str(tmp_path / "state"), PYTHONPATH=str(tmp_path))
    command = [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", *args]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_pool_that_keeps_no_limits_is_refused_at_boot(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    text = refusal(tmp_path, "-P", "solo", "--time-limit", "5", "--soft-time-limit", "2")
    assert "task_time_limit = 5 needs 'hard_limit', which pool 'solo' cannot do" in text
    assert "task_soft_time_limit = 2 needs 'soft_limit', which pool 'solo' cannot do" in text
    text = refusal(tmp_path, "--time-limit", "soon")
    assert "setting 'task_time_limit' cannot be 'soon': a time limit is a number of seconds above 0" in text


def test_a_task_whose_limit_the_pool_cannot_keep_is_refused_at_boot(tmp_path):
    source = "from bootsteps_tasks import App\napp = App('proj')\n@app.task(time_limit=5)\ndef add(): ...\n"
    (tmp_path / "proj.py").write_text(source)
    text = refusal(tmp_path, "-P", "solo")
    assert "task 'proj.add' has time_limit = 5, which needs 'hard_limit', and the pool cannot do that" in text
    assert "try: remove the time_limit of this task, or choose another pool" in text


def test_a_celery_client_may_limit_a_task_and_knows_the_errors(tmp_path, redis_url):
    celery = pytest.importorskip("celery")
    pytest.importorskip("sqlalchemy")
    results = tmp_path / "state" / "bootsteps" / "proj" / "results.db"
    results.parent.mkdir(parents=True)
    theirs = celery.Celery("client", broker=redis_url, backend=f"db+sqlite:///{results}")
    queue = f"limits-{os.getpid()}-{time.monotonic_ns()}"
    with running_worker(tmp_path, "-c", "1", "-Q", queue, app=APP, broker=redis_url):
        soft = theirs.send_task("proj.forever", queue=queue, soft_time_limit=0.3)
        with pytest.raises(celery.exceptions.SoftTimeLimitExceeded):
            soft.get(timeout=20, interval=0.01)
        hard = theirs.send_task("proj.forever", queue=queue, time_limit=0.3)
        with pytest.raises(celery.exceptions.TimeLimitExceeded, match=r"0\.3"):
            hard.get(timeout=20, interval=0.01)
        cleaned = theirs.send_task("proj.cleans_up", queue=queue)
        assert cleaned.get(timeout=20, interval=0.01) == ["cleaned up", 0.3]
    theirs.close()
