"""What a pool child does with a message: run, store, tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bootsteps_consumer_tasks import strategy
from bootsteps_consumer_tasks.envelope import Envelope, Plain, pack, unpack
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_consumer_tasks.runner import TaskRunner
from bootsteps_tasks.errors import Ignore, Reject


@pytest.fixture
def runner(app: Any) -> TaskRunner:
    runner = TaskRunner(app)
    runner.start()
    return runner


def run(runner: TaskRunner, message: Any) -> Report:
    report = Report.unpack(runner.run(Envelope.of(message, "w@h").pack()))
    runner.flush()
    return report


def test_runs_the_task_and_stores_its_result_in_the_flush(runner, app, message):
    runner.run(Envelope.of(message("a"), "w@h").pack())
    runner.run(Envelope.of(message("b", args=(2, 3)), "w@h").pack())
    assert app.results.stored == []
    runner.flush()
    runner.flush()
    assert app.results.batches == [2]
    assert [(m["task_id"], m["status"], m["result"]) for m in app.results.stored] == [
        ("a", "SUCCESS", 3),
        ("b", "SUCCESS", 5),
    ]


def test_a_failure_is_stored_with_a_traceback_of_the_task_alone(runner, app, message):
    @app.task(name="bad")
    def bad():
        raise ValueError("bad", 42)

    report = run(runner, message(name="bad", args=()))
    assert (report.state, report.text) == ("FAILURE", "ValueError('bad', 42)")
    [stored] = app.results.stored
    assert stored["result"] == {"exc_type": "ValueError", "exc_message": ["bad", 42], "exc_module": "builtins"}
    assert 'raise ValueError("bad", 42)' in stored["traceback"]
    assert "bootsteps_consumer_tasks" not in stored["traceback"]


@pytest.mark.parametrize("error", [SystemExit(3), RecursionError(), MemoryError()])
def test_nothing_that_a_task_raises_ends_the_child(runner, app, message, error):
    @app.task(name="bad")
    def bad():
        raise error

    assert run(runner, message(name="bad", args=())).state == "FAILURE"
    assert app.results.stored[0]["result"]["exc_type"] == type(error).__name__


def test_the_task_knows_its_request(runner, app, message):
    @app.task(name="who", bind=True)
    def who(self, x, y):
        request = self.request
        return [request.id, request.args, request.kwargs, request.hostname, request.retries, request.called_directly]

    run(runner, message("me", "who", (1, 2), retries=3))
    assert app.results.stored[0]["result"] == ["me", [1, 2], {}, "w@h", 3, False]


def test_ignored_results_are_not_stored_but_errors_may_be(runner, app, message):
    @app.task(name="quiet", ignore_result=True)
    def quiet(fails):
        return 1 / (0 if fails else 1)

    @app.task(name="strict", ignore_result=True, store_errors_even_if_ignored=True)
    def strict():
        raise ValueError

    assert run(runner, message(name="quiet", args=(0,), ignore_result=None)).state == "SUCCESS"
    assert run(runner, message(name="quiet", args=(1,), ignore_result=None)).state == "FAILURE"
    assert run(runner, message(ignore_result=True)).state == "SUCCESS"
    assert app.results.stored == []
    run(runner, message(name="strict", args=(), ignore_result=None))
    assert [m["status"] for m in app.results.stored] == ["FAILURE"]


def test_ignore_and_reject_say_how_to_settle(runner, app, message):
    @app.task(name="leaves")
    def leaves(what):
        raise {"ignore": Ignore(), "requeue": Reject("later", requeue=True), "reject": Reject("never")}[what]

    assert run(runner, message(name="leaves", args=("ignore",))).state == "IGNORED"
    assert run(runner, message(name="leaves", args=("requeue",))).state == "REQUEUED"
    assert app.results.stored == []
    assert run(runner, message(name="leaves", args=("reject",))).state == "REJECTED"
    assert app.results.stored[0]["result"]["exc_type"] == "Reject"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": b"not json"}, "cannot be decoded"),
        ({"body": b"[1, 2]"}, "not [args, kwargs, embed]"),
        ({"body": b'[[], [], null]'}, "keyword arguments are not a mapping"),
        ({"content_type": "application/x-python-serialize"}, "not among accept_content"),
        ({"body": b'[[1, 2], {}, {"chain": [5]}]'}, "'chain' in the body's third part is no signature"),
        ({"body": b'[[1, 2], {}, {"chord": {"task": "add", "options": 5}}]'}, "is no signature"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_used_is_a_failure_of_the_task(runner, app, message, change, reason):
    bad = message()
    for name, value in change.items():
        setattr(bad, name, value)
    assert run(runner, bad).state == "FAILURE"
    assert reason in app.results.stored[0]["result"]["exc_message"][0]


def test_nothing_is_unpickled(runner, app, message):
    bad = message()
    bad.content_type, bad.content_encoding = "application/x-python-serialize", "binary"
    bad.body = b"cos\nsystem\n(S'touch /tmp/should-not-exist'\ntR."
    assert run(runner, bad).state == "FAILURE"


def test_a_wrong_call_and_an_unregistered_task_are_failures(runner, app, message):
    assert "TypeError" in run(runner, message(args=(1,))).text
    assert run(runner, message(name="nobody")).text.startswith("NotRegistered")


def test_a_result_whose_repr_raises_is_still_a_result(runner, app, message):
    class Odd(dict[str, int]):
        def __repr__(self):
            raise RuntimeError

    @app.task(name="odd")
    def odd():
        return Odd(a=1)

    assert run(runner, message(name="odd", args=())).text == "<Odd whose repr raises RuntimeError>"
    assert app.results.stored[0]["result"] == {"a": 1}


def test_a_store_that_fails_is_not_forgotten(runner, app, message):
    app.results.fails = True
    runner.run(Envelope.of(message("a"), "w@h").pack())
    with pytest.raises(OSError, match="no space left"):
        runner.flush()
    app.results.fails = False
    runner.flush()
    assert [m["task_id"] for m in app.results.stored] == ["a"]


def test_the_envelope_keeps_the_body_as_it_came(message):
    original = message()
    assert unpack(Envelope.of(original, "w@h").pack()).body == original.body
    original.body = "text"
    assert Envelope.of(original, "w@h").body == b"text"


@pytest.mark.parametrize("options", [{}, {"headers": {"my": "hdr"}}, {"time_limit": 30}])
def test_a_message_that_nobody_decoded_is_decoded_by_the_child(runner, app, message, undecoded, options):
    seen = []

    @app.task(name="look", bind=True)
    def look(task, x):
        seen.append((task.request.headers, task.request.properties, task.request.timelimit, task.request.stamps, x))

    told = message(name="look", args=(7,), **options)
    for packed in (pack(undecoded(told), "w@h"), Envelope.of(undecoded(told), "w@h").pack()):
        report = Report.unpack(runner.run(packed))
        assert report.state == "SUCCESS", report.text
    assert isinstance(unpack(pack(undecoded(told), "w@h")), Plain)
    assert seen[0] == seen[1]
    assert seen[0][0] == told.headers


def test_the_parent_decodes_no_body():
    """What runs in the parent does not even name the decoder, but for those who ask by remote control."""
    sources = Path(strategy.__file__).parent.glob("*.py")
    users = sorted(file.stem for file in sources if "decode_body" in file.read_text())
    assert users == ["runner", "snapshots"]


def test_a_state_says_whether_it_is_the_first_of_its_task(runner, app, message):
    """Who stores it may look less closely then."""

    @app.task(name="told", bind=True)
    def told(self):
        self.update_state(state="PROGRESS")

    @app.task(name="tracked", track_started=True)
    def tracked(): ...

    run(runner, message("plain"))
    run(runner, message("again", retries=1))
    redelivered = message("redelivered")
    redelivered.delivery_info = {**redelivered.delivery_info, "redelivered": True}
    run(runner, redelivered)
    run(runner, message("told", "told", ()))
    run(runner, message("tracked", "tracked", ()))
    assert {m["task_id"]: m.first for m in app.results.stored if m["status"] == "SUCCESS"} == {
        "plain": True,
        "again": False,
        "redelivered": False,
        "told": False,
        "tracked": False,
    }
