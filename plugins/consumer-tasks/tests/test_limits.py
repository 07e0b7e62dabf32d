"""Which limits a request gets, what they are called when they are wrong, and how a task learns of its soft limit."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from bootsteps import KernelError, SettingError, Settings
from bootsteps.testing import FakePool
from bootsteps_consumer_tasks.envelope import Envelope
from bootsteps_consumer_tasks.limits import SOFT_TIME_LIMIT, TIME_LIMIT, Limits, check_tasks, demanded
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_consumer_tasks.runner import TaskRunner
from bootsteps_tasks import parse_headers
from bootsteps_tasks.errors import SoftTimeLimitExceeded


@pytest.fixture
def limited(app: Any) -> Any:
    @app.task(name="limited", time_limit=20, soft_time_limit=10)
    def limited(): ...

    @app.task(name="half", soft_time_limit=10)
    def half(): ...

    return app


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        ("add", (None, None), (200, 100)),
        ("add", (2, None), (2, 100)),
        ("add", (None, 1), (200, 1)),
        ("half", (None, None), (200, 10)),
        ("limited", (None, None), (20, 10)),
        ("limited", (2.5, None), (2.5, 10)),
        ("limited", (2.5, 1.5), (2.5, 1.5)),
        ("limited", (0, 0), (20, 10)),
    ],
)
def test_the_messages_limits_go_before_the_tasks_and_those_before_the_settings(
    limited, make_bench, message, name, sent, expected
):
    bench = make_bench(limits=Limits(200, 100))
    bench.take(message(name=name, time_limit=sent[0], soft_time_limit=sent[1]))
    [job] = bench.pool.jobs
    assert (job.time_limit_s, job.soft_time_limit_s) == expected


def test_without_any_limit_there_is_none(make_bench, message):
    bench = make_bench()
    bench.take(message())
    [job] = bench.pool.jobs
    assert (job.time_limit_s, job.soft_time_limit_s) == (None, None)


def test_limits_of_a_message_that_the_pool_cannot_keep_are_told(make_bench, message, caplog):
    bench = make_bench()
    bench.able = frozenset({"soft_limit"})
    bench.connect()
    bench.take(message("a", time_limit=5, soft_time_limit=2), message("b", soft_time_limit=2), message("c"))
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["Task add[a] asks for a hard limit of 5 s; this pool cannot keep it"]


def test_settings_demand_what_they_need():
    assert list(demanded(Settings())) == []
    demands = list(demanded(Settings({"task_time_limit": 5, "task_soft_time_limit": "2.5"})))
    assert [(d.capability, d.because) for d in demands] == [
        ("hard_limit", "task_time_limit = 5"),
        ("soft_limit", "task_soft_time_limit = 2.5"),
    ]


@pytest.mark.parametrize("setting", [TIME_LIMIT, SOFT_TIME_LIMIT])
@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf", True, [1]])
def test_a_limit_that_is_none_is_refused(setting, value):
    with pytest.raises(SettingError, match=f"{setting.name}.*: a time limit is a number of seconds above 0"):
        setting.parse(value)
    assert setting.parse("1.5") == 1.5


def test_a_task_whose_limit_the_pool_cannot_keep_is_refused(limited):
    check_tasks(limited.tasks, {"hard_limit", "soft_limit"})
    with pytest.raises(
        KernelError, match=r"'half' has soft_time_limit = 10, which needs 'soft_limit'(.|\n)*try: remove"
    ):
        check_tasks(limited.tasks, FakePool.capabilities)


def test_a_task_whose_limit_is_none_is_refused(app):
    @app.task(name="odd", time_limit=-3)
    def odd(): ...

    with pytest.raises(KernelError, match="'odd' has time_limit = -3: a time limit is a number of seconds above 0"):
        check_tasks(app.tasks, {"hard_limit"})


@pytest.mark.parametrize("early", [False, True])
def test_what_was_killed_at_its_limit_has_failed_and_is_not_tried_again(app, make_bench, message, caplog, early):
    bench, late = make_bench(), message(name="early" if early else "add")
    bench.take(late)
    bench.finish(payload=b"", lost="child 1 was killed by signal 9 (SIGKILL)", timed_out=2.5)
    assert late.settled == ["ack"]
    (stored,) = app.results.stored
    assert stored["status"] == "FAILURE"
    assert stored["result"] == {
        "exc_type": "TimeLimitExceeded", "exc_message": [2.5], "exc_module": "billiard.exceptions"
    }  # fmt: skip
    name = late.headers["task"]
    assert [r.getMessage() for r in caplog.records] == [f"Task {name}[id-1] was killed at its hard time limit of 2.5 s"]


@pytest.fixture
def runner(app: Any) -> Any:
    made = TaskRunner(app)
    made.start()
    return made


def run(runner: TaskRunner, message: Any) -> Report:
    return Report.unpack(runner.run(Envelope.of(message, "w@h").pack()))


def test_a_task_can_catch_its_soft_limit(runner, app, message, caplog):
    @app.task(name="careful")
    def careful():
        try:
            runner.interrupt(2.5)  # as the pool does, in the midst of the task
        except SoftTimeLimitExceeded as exc:
            return f"cleaned up after {exc.args[0]}"

    with caplog.at_level(logging.WARNING):
        careful_message = message(name="careful", args=())
        report = run(runner, careful_message)
        assert (report.state, report.soft_limit_s) == ("SUCCESS", 2.5)
        report.log(parse_headers(careful_message.headers), 3.0)
    assert caplog.messages == ["Task careful[id-1] reached its soft time limit of 2.5 s"]
    runner.flush()
    assert app.results.stored[0]["result"] == "cleaned up after 2.5"


def test_a_soft_limit_that_is_not_caught_is_the_tasks_failure(runner, app, message):
    @app.task(name="careless")
    def careless():
        runner.interrupt(2.5)

    report = run(runner, message(name="careless", args=()))
    assert (report.state, report.text, report.soft_limit_s) == ("FAILURE", "SoftTimeLimitExceeded(2.5)", 2.5)
    runner.flush()
    (stored,) = app.results.stored
    assert (stored["result"]["exc_type"], stored["result"]["exc_module"]) == (
        "SoftTimeLimitExceeded", "billiard.exceptions"
    )  # fmt: skip
    assert run(runner, message("id-2")).soft_limit_s is None, "the next task is another one"


def test_a_soft_limit_before_the_task_begins_is_raised_in_it_and_one_after_it_is_nothing(runner, app, message):
    began: list[int] = []

    @app.task(name="notes")
    def notes():
        began.append(1)

    class Slow(dict[str, Any]):
        """Headers during whose reading the time runs out."""

        def get(self, key, default=None):
            runner.interrupt(2.5)
            return super().get(key, default)

    early = Envelope.of(message(name="notes", args=()), "w@h")
    slow = Envelope(early.body, early.content_type, early.content_encoding, Slow(early.headers), {}, {}, "w@h")
    runner._begin()
    assert runner._trace(slow).text == "SoftTimeLimitExceeded(2.5)"
    assert began == []
    runner.interrupt(2.5)  # after it: nothing is raised here
    assert run(runner, message("id-2", name="notes", args=())).state == "SUCCESS"
    assert began == [1]
