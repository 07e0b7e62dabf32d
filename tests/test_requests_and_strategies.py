"""A task's own request and strategy, which work in the worker's main process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import running_worker, until

APP = """
    import json, logging, os, time
    from bootsteps_consumer_tasks import Request
    from bootsteps_tasks import App, Task
    app = App("proj")
    MAIN = os.getpid()

    def note(*words):
        with open("notes", "a") as file:
            print(json.dumps([os.getpid(), *words], default=str), file=file)

    class MyRequest(Request):
        # A minimal custom request, as Celery's documentation has it.
        def on_accepted(self, pid, time_accepted):
            super().on_accepted(pid, time_accepted)
            note("accepted", self.task.name, pid)

        def on_timeout(self, soft, timeout):
            super().on_timeout(soft, timeout)
            note("timeout", self.task.name, soft, timeout)

        def on_failure(self, exc_info, send_failed_event=True, return_ok=False):
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
            note("failure", self.task.name, type(exc_info.exception).__name__, str(exc_info.exception))

        def on_success(self, failed__retval__runtime, **kwargs):
            note("success", self.task.name, failed__retval__runtime[1])
            raise RuntimeError("a request of its own that fails")

        def on_retry(self, exc_info):
            note("retry", self.task.name, str(exc_info.exception))

    class MyTask(Task):
        Request = MyRequest

    @app.task(base=MyTask)
    def add(x, y):
        return x + y

    @app.task(Request="proj:MyRequest")
    def fail():
        raise ValueError("no")

    @app.task(base=MyTask, time_limit=1)
    def hang():
        time.sleep(60)

    @app.task(base=MyTask, soft_time_limit=0.5)
    def slow():
        time.sleep(60)

    @app.task(base=MyTask, bind=True, max_retries=1)
    def again(self):
        if not self.request.retries:
            raise self.retry(countdown=0, exc=KeyError("later"))

    @app.task(base=MyTask, acks_late=False)
    def die():
        os.kill(os.getpid(), 9)

    @app.task
    def plain():
        return os.getppid()

    def refusing(task, app, consumer, default):
        def take(message):
            if message.headers.get("forbidden"):
                note("refused", task.name, consumer.hostname)
                message.reject()
                return
            default(message)
        return take

    @app.task(Strategy="proj:refusing")
    def guarded():
        note("guarded ran")
"""


@pytest.fixture
def url(redis_url: str) -> str:
    return f"{redis_url.rpartition('/')[0]}/12"


def notes(folder: Path) -> list[list[Any]]:
    path = folder / "notes"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_request_of_ones_own_hears_in_the_main_process_what_becomes_of_the_task(tmp_path: Path, url: str) -> None:
    app = App("proj", broker=url, result_backend=url)
    with running_worker(tmp_path, "-c", "1", app=APP, broker=url, backend=url) as worker:
        pid = worker.process.pid
        assert app.send_task("proj.add", (1, 2)).get(timeout=20) == 3
        assert app.send_task("proj.plain").get(timeout=20) == pid
        for name in ("fail", "hang", "slow", "again", "die"):
            app.send_task(f"proj.{name}").get(timeout=20, propagate=False)
        until(lambda: len([n for n in notes(tmp_path) if n[1] == "failure"]) == 4, "four failures")
        found = notes(tmp_path)
        assert {entry[0] for entry in found} == {pid}
        told = [tuple(entry[1:]) for entry in found if entry[1] != "accepted"]
        assert told[0] == ("success", "proj.add", "3")
        assert ("failure", "proj.fail", "TaskError", "ValueError('no')") in told
        assert [n for n in told if n[1] == "proj.hang"] == [
            ("timeout", "proj.hang", False, 1.0),
            ("failure", "proj.hang", "TimeLimitExceeded", "1"),
        ]
        assert ("timeout", "proj.slow", True, 0.5) in told
        assert [n[0] for n in told if n[1] == "proj.again"] == ["retry", "success"]
        assert [n[2] for n in told if n[1] == "proj.die"] == ["WorkerLostError"]
        accepted = [entry[2] for entry in found if entry[1] == "accepted"]
        assert accepted[:3] == ["proj.add", "proj.fail", "proj.hang"]
        assert "proj.plain" not in {n[2] for n in found}
        assert "a request of its own that fails" in worker.log
        assert worker.stop() == 0
    app.close()


def test_a_strategy_of_ones_own_takes_the_messages_and_may_hand_them_on(tmp_path: Path, url: str) -> None:
    app = App("proj", broker=url, result_backend=url)
    with running_worker(tmp_path, "-c", "1", "-n", "w@h", app=APP, broker=url, backend=url) as worker:
        app.send_task("proj.guarded", headers={"forbidden": True})
        app.send_task("proj.guarded").get(timeout=20)
        until(lambda: len(notes(tmp_path)) == 2, "both")
        refused, ran = notes(tmp_path)
        assert refused == [worker.process.pid, "refused", "proj.guarded", "w@h"]
        assert ran[1:] == ["guarded ran"]
        assert worker.stop() == 0
    app.close()


@pytest.mark.parametrize("given", ["proj:Nothing", "os:getpid"])
def test_a_request_that_is_none_ends_the_boot(tmp_path: Path, url: str, given: str) -> None:
    text = f"""
    from bootsteps_tasks import App
    app = App("proj")

    @app.task(Request="{given}")
    def add(x, y):
        return x + y
    """
    with running_worker(tmp_path, "-P", "solo", app=text, broker=url, ready=False) as worker:
        assert worker.wait() == 2
        assert "the option Request of the task proj.add" in worker.log
        assert "Traceback" not in worker.log
    assert os.getpid() != worker.process.pid
