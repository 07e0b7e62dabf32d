"""Options of tasks and calls, kept by a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from bootsteps_tasks.abortable import abort
from bootsteps_tasks.errors import TaskRevokedError
from workers import running_worker, until

TASKS = """
    import time
    from pathlib import Path
    from bootsteps_tasks import App
    from bootsteps_tasks.abortable import AbortableTask
    app = App("proj")

    @app.task(bind=True)
    def request(self, *args, **kwargs):
        r = self.request
        names = '''id task args kwargs retries root_id parent_id group group_index eta expires timelimit reply_to
                   correlation_id shadow ignore_result argsrepr kwargsrepr hostname called_directly is_eager
                   replaced_task_nesting'''.split()
        found = {name: getattr(r, name) for name in names}
        found["custom"] = r.headers.get("tenant")
        found["routing_key"] = r.delivery_info.get("routing_key")
        found["stamps"] = [r.stamped_headers, r.stamps]
        return found

    @app.task
    def note(file, word):
        with open(file, "a") as out:
            out.write(word + chr(10))

    @app.task(resultrepr_maxsize=20)
    def long():
        return "x" * 1000

    @app.task(throws=(KeyError,))
    def expected():
        raise KeyError("expected")

    @app.task(base=AbortableTask, bind=True)
    def patient(self):
        self.update_state(state="PROGRESS")
        while not self.is_aborted():
            time.sleep(0.01)
        return "stopped"

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=3, retry_backoff=0.01, retry_backoff_max=0.02)
    def flaky(self):
        if self.request.retries < 2:
            raise ConnectionError("down")
        return self.request.retries
"""


@pytest.fixture(params=["sqlite", "redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def ours(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = App("proj", task_default_queue=f"options-{tmp_path.name}", **({"broker_url": url} if url else {}))
    yield app
    app.close()


def test_every_option_of_a_call_is_seen_in_the_request(ours: App, url: str, tmp_path: Path) -> None:
    queue = ours.conf["task_default_queue"]
    with running_worker(tmp_path, "-c", "1", "-n", "w@h", "-Q", queue, broker=url, app=TASKS):
        eta = datetime.now(UTC) + timedelta(seconds=0.2)
        options: dict[str, Any] = {
            "task_id": f"id-{tmp_path.name}",
            "eta": eta,
            "expires": 600,
            "priority": 5,
            "headers": {"tenant": "acme"},
            "time_limit": 30,
            "soft_time_limit": 20,
            "shadow": "alias",
            "serializer": "json",
            "compression": "gzip",
            "root_id": "root",
            "parent_id": "parent",
            "group_id": "group",
            "group_index": 3,
            "reply_to": "somewhere",
        }
        found = ours.send_task("proj.request", (1,), {"k": 2}, **options).get(timeout=30)
        assert datetime.now(UTC) >= eta
        expected = {key: options[key] for key in ("root_id", "parent_id", "group_index", "reply_to", "shadow")}
        expected |= {"id": options["task_id"], "correlation_id": options["task_id"], "group": "group", "custom": "acme"}
        expected |= {"args": [1], "kwargs": {"k": 2}, "argsrepr": "(1,)", "kwargsrepr": "{'k': 2}", "hostname": "w@h"}
        expected |= {"timelimit": [30, 20], "retries": 0, "called_directly": False, "is_eager": False}
        expected |= {"routing_key": queue, "replaced_task_nesting": 0, "task": "proj.request", "eta": eta.isoformat()}
        assert {key: found[key] for key in expected} == expected
        assert datetime.fromisoformat(found["expires"]) > datetime.now(UTC)


def test_runs_are_retried_expected_errors_are_quiet_and_long_results_are_cut_in_the_log(
    ours: App, url: str, tmp_path: Path
) -> None:
    queue = ours.conf["task_default_queue"]
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url, app=TASKS) as worker:
        assert ours.send_task("proj.flaky").get(timeout=30) == 2
        long = ours.send_task("proj.long")
        assert long.get(timeout=30) == "x" * 1000
        until(lambda: f"proj.long[{long.id}] succeeded" in worker.log, "its line")
        assert "x" * 16 in worker.log
        assert "x" * 21 not in worker.log
        expected = ours.send_task("proj.expected")
        with pytest.raises(KeyError):
            expected.get(timeout=30)
        assert "KeyError" in (expected.traceback or "")
        until(lambda: f"proj.expected[{expected.id}] raised, as it may" in worker.log, "its line")
        assert "Traceback" not in worker.log.partition("raised, as it may")[2]
        late = ours.send_task("proj.request", expires=datetime.now(UTC) - timedelta(seconds=5))
        if url.startswith("redis"):  # other brokers drop it, and nobody is told
            with pytest.raises(TaskRevokedError, match="expired"):
                late.get(timeout=30)


def test_a_task_may_have_a_result_backend_of_its_own(ours: App, url: str, tmp_path: Path) -> None:
    queue, own = ours.conf["task_default_queue"], f"sqlite:///{tmp_path / 'own.db'}"
    app = (
        TASKS
        + f"""
    @app.task(backend={own!r})
    def elsewhere(x):
        return x
    """
    )
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url, app=app):
        asked = ours.send_task("proj.elsewhere", (5,))
        other = App("other", backend=own)
        assert other.AsyncResult(asked.id).get(timeout=30) == 5
        assert asked.state == "PENDING"
        other.close()


def test_a_task_may_be_asked_to_stop(ours: App, url: str, tmp_path: Path) -> None:
    queue = ours.conf["task_default_queue"]
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url, app=TASKS):
        patient = ours.send_task("proj.patient")
        until(lambda: patient.state == "PROGRESS", "its start")
        assert abort(patient)
        assert patient.get(timeout=30) == "stopped"
        assert not abort(patient)


def test_the_more_urgent_is_run_first(ours: App, url: str, tmp_path: Path) -> None:
    queue, notes = ours.conf["task_default_queue"], tmp_path / "notes"
    ours.conf.override({"task_queue_max_priority": 10})
    urgent, idle = (0, 9) if url.startswith("redis") else (9, 0)  # on Redis 0 is the highest, as for Celery
    for number in range(3):
        ours.send_task("proj.note", (str(notes), f"idle{number}"), priority=idle)
    for number in range(3):
        ours.send_task("proj.note", (str(notes), f"urgent{number}"), priority=urgent)
    app = TASKS.replace('App("proj")', 'App("proj", task_queue_max_priority=10)')
    with running_worker(tmp_path, "-c", "1", "-Q", queue, "--prefetch-multiplier", "1", broker=url, app=app):
        until(lambda: notes.exists() and len(notes.read_text().split()) == 6, "six notes")
    assert notes.read_text().split() == [f"{kind}{number}" for kind in ("urgent", "idle") for number in range(3)]
