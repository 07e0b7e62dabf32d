"""What is done with a message, decided by its headers; and what becomes of it later."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bootsteps import Hooks, Outcome, hookimpl
from bootsteps.testing import FakePool, FakeTimer
from bootsteps_consumer_tasks.handover import HandOver
from bootsteps_consumer_tasks.ledger import Ledger, State
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_consumer_tasks.prefetch import Prefetch
from bootsteps_consumer_tasks.settlement import Settlement
from bootsteps_consumer_tasks.strategy import Intake

SUCCESS = Report("SUCCESS", "3").pack()


class Bench:
    """Everything between the transport and the pool."""

    def __init__(self, app: Any, concurrency: int = 1) -> None:
        self.app = app
        self.pool = FakePool(concurrency=concurrency)
        self.timer = FakeTimer()
        self.hooks = Hooks()
        self.ledger = Ledger(self.pool.running)
        self.settlement = Settlement(app, self.ledger, self.hooks, lost_limit=2)
        self.pool.connect(self.settlement.on_outcomes)
        self.limits: list[int] = []
        self.qos = Prefetch(lambda prefetch_count: self.limits.append(prefetch_count), 4)
        self.connect()

    def connect(self) -> None:
        self.intake = Intake(self.app, "w@h", self.ledger, self.settlement, self.timer, self.hooks)
        self.hand_over = HandOver(self.ledger, self.pool, self.qos)

    def take(self, *messages: Any) -> None:
        for message in messages:
            self.intake.on_message(message)
        self.hand_over()

    def finish(self, index: int = 0, **outcome: Any) -> None:
        self.pool.finish(Outcome(self.pool.jobs[index].seq, **({"payload": SUCCESS} | outcome)))


@pytest.fixture
def bench(app: Any) -> Bench:
    return Bench(app)


def test_a_late_task_is_acknowledged_when_its_outcome_is_there(bench, message):
    heard: list[Any] = []

    class Listener:
        @hookimpl
        def task_received(self, id, name):
            heard.append(("received", id, name))

        @hookimpl
        def task_settled(self, request, state, runtime_s):
            heard.append(("settled", request.id, state, runtime_s, list(first.settled)))

    bench.hooks.register(Listener(), "listener")
    first = message()
    bench.take(first)
    assert first.settled == []
    assert [job.kind for job in bench.pool.jobs] == ["add"]
    bench.finish(runtime_s=0.5)
    assert first.settled == ["ack"]
    assert heard == [("received", "id-1", "add"), ("settled", "id-1", "SUCCESS", 0.5, ["ack"])]
    assert len(bench.ledger) == 0


def test_an_early_task_is_acknowledged_when_the_pool_takes_it(bench, message):
    first, second = message(), message("id-2", "early", ())
    bench.take(first, second)
    assert second.settled == []  # the pool has no place for it yet
    bench.finish()
    bench.hand_over()
    assert second.settled == ["ack"]
    bench.finish()
    assert second.settled == ["ack"]


def test_the_pool_gets_no_more_than_it_takes_oldest_first(bench, message):
    bench.take(*(message(f"id-{n}") for n in range(3)))
    assert len(bench.pool.jobs) == 1
    assert bench.ledger.count(State.RESERVED) == 2
    for _ in range(3):
        bench.finish()
        bench.hand_over()
    assert len(bench.ledger) == 0
    assert bench.ledger.total == {"add": 3}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (None, "names no task"),
        ({}, "names no task"),
        ([], "names no task"),
        ({"task": ["add"], "id": "x"}, "names no task"),
        ({"task": "add"}, "has no usable 'id'"),
        ({"task": "add", "id": "x", "eta": "tomorrow"}, "'eta' is no ISO 8601 date"),
        ({"task": "add", "id": "x", "expires": 5}, "'expires' is no ISO 8601 date"),
        ({"task": "add", "id": "x", "timelimit": [1]}, "'timelimit' is not [hard, soft]"),
        ({"task": "nobody", "id": 7}, "has no usable 'id'"),
    ],
)
def test_a_malformed_message_is_refused_with_the_reason(bench, message, caplog, headers, reason):
    bad = message()
    bad.headers = headers
    bench.take(bad)
    assert bad.settled == ["reject"]
    assert reason in caplog.text
    assert len(bench.ledger) == 0


def test_an_unknown_task_is_refused_and_its_caller_told(bench, message, caplog):
    lost = message("id-9", "nobody.knows")
    bench.take(lost)
    assert lost.settled == ["reject"]
    [stored] = bench.app.results.stored
    assert (stored["task_id"], stored["status"]) == ("id-9", "FAILURE")
    assert stored["result"]["exc_type"] == "NotRegistered"
    assert "nobody.knows[id-9] is not registered" in caplog.text


def test_a_failing_result_store_does_not_hurt_the_worker(bench, message, caplog):
    bench.app.results.fails = True
    bench.take(message("id-9", "nobody.knows"))
    assert "the result of task id-9 could not be stored" in caplog.text


def test_an_expired_task_is_revoked(bench, message):
    late = message(expires=datetime.now(UTC) - timedelta(seconds=1))
    bench.take(late)
    assert late.settled == ["ack"]
    [stored] = bench.app.results.stored
    assert stored["status"] == "REVOKED"
    assert stored["result"]["exc_message"] == ["expired"]
    in_time = message("id-2", expires=60)
    bench.take(in_time)
    assert len(bench.pool.jobs) == 1


def test_an_eta_task_waits_without_taking_a_place(bench, message):
    bench.take(message(countdown=30))
    bench.hand_over()
    assert bench.pool.jobs == []
    assert bench.qos.value == 5
    assert bench.limits == [4, 5]
    bench.timer.advance(29)
    bench.hand_over()
    assert bench.pool.jobs == []
    bench.timer.advance(2)
    bench.hand_over()
    assert len(bench.pool.jobs) == 1
    assert bench.limits == [4, 5, 4]


def test_an_eta_that_is_past_runs_at_once(bench, message):
    bench.take(message(eta=datetime.now(UTC) - timedelta(hours=1)))
    assert len(bench.pool.jobs) == 1


def test_closing_gives_back_what_the_pool_does_not_have_in_order(bench, message):
    running, waiting, held = message("a"), message("b"), message("c", countdown=30)
    given_back: list[str] = []
    for each in (waiting, held):
        each.requeue = lambda each=each: given_back.append(each.headers["id"])
    bench.take(running, waiting, held)
    assert bench.intake.close() == 2
    assert given_back == ["c", "b"]
    assert bench.timer.pending == 0
    assert (running.settled, bench.ledger.active()) == ([], 1)
    straggler = message("d")
    bench.intake.on_message(straggler)
    assert straggler.settled == ["requeue"]
    bench.finish()
    assert running.settled == ["ack"]


def test_a_cold_end_gives_back_what_can_run_again(bench, message):
    late, early = message("a"), message("b", "early", ())
    bench.pool.concurrency = 2
    bench.take(late, early)
    assert bench.intake.interrupt() == 1
    assert (late.settled, early.settled) == (["requeue"], ["ack"])
    bench.finish()  # too late: it was given back
    assert late.settled == ["requeue"]


def test_what_was_not_begun_is_given_back_without_counting_as_an_attempt(bench, message):
    given_back: list[Any] = []
    channel = type("Channel", (), {"give_back": lambda self, tags: given_back.append(tags)})()
    running, waiting = message("a"), message("b")
    for each in (running, waiting):
        each.channel = channel
    bench.take(running, waiting)
    assert bench.intake.interrupt() == 2
    assert (given_back, waiting.settled) == ([["tag"]], [])
    assert running.settled == ["requeue"]


def test_a_lost_child_gives_a_late_task_another_chance_but_not_for_ever(bench, message, caplog):
    for count, settled in ((0, "requeue"), (1, "requeue"), (2, "ack")):
        each = message(f"id-{count}", info={"delivery_count": count, "redelivered": count > 0})
        bench.take(each)
        bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
        assert each.settled == [settled]
    [stored] = bench.app.results.stored
    assert stored["task_id"] == "id-2"
    assert stored["result"]["exc_type"] == "WorkerLostError"
    assert "signal 9" in stored["result"]["exc_message"][0]
    assert "lost (child 7 was killed by signal 9 (SIGKILL)) after 3 attempts; it is not tried again" in caplog.text


def test_where_the_broker_does_not_count_the_worker_does(bench, message):
    settled = []
    for _ in range(3):
        each = message("a", info={"redelivered": True})
        bench.take(each)
        bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
        settled += each.settled
    assert settled == ["requeue", "requeue", "ack"]


def test_a_lost_early_task_is_not_run_again(bench, message):
    each = message("id-1", "early", ())
    bench.take(each)
    bench.finish(payload=b"", lost="child 7 exited with status 3")
    assert each.settled == ["ack"]
    assert bench.app.results.stored[0]["status"] == "FAILURE"


@pytest.mark.parametrize(
    ("state", "settled"), [("RETRY", "ack"), ("IGNORED", "ack"), ("REJECTED", "reject"), ("REQUEUED", "requeue")]
)
def test_the_child_says_how_to_settle(bench, message, state, settled):
    each = message()
    bench.take(each)
    bench.finish(payload=Report(state, "why").pack())
    assert each.settled == [settled]


def test_a_broken_line_forgets_what_was_not_started_and_keeps_what_runs(bench, message, caplog):
    running, waiting = message("a"), message("b")
    bench.take(running, waiting)
    bench.intake.hang_up()
    assert len(bench.ledger) == 1
    bench.connect()
    again = message("a", info={"redelivered": True})
    bench.take(again, message("b", info={"redelivered": True}))
    assert len(bench.ledger) == 2  # the running one was adopted, not taken twice
    with caplog.at_level(logging.INFO):
        bench.finish()
    assert (running.settled, again.settled) == ([], ["ack"])


def test_a_task_that_was_finished_while_the_line_was_broken_does_not_run_again(bench, message, caplog):
    bench.take(message("a"))
    bench.intake.hang_up()
    bench.finish()
    bench.connect()
    again = message("a", info={"redelivered": True})
    with caplog.at_level(logging.INFO):
        bench.take(again)
    assert again.settled == ["ack"]
    assert bench.pool.jobs == []
    assert "was finished before its connection broke" in caplog.text
    bench.take(message("a", info={"redelivered": True}))  # once only: another message of that id is another run
    assert len(bench.pool.jobs) == 1


def test_running_tells_snapshots_oldest_first(bench, message):
    bench.pool.concurrency = 2
    bench.take(message("a"), message("b"), message("c"))
    assert [(r.id, r.name, r.pid) for r in bench.ledger.running()] == [("a", "add", 1), ("b", "add", 1)]


def test_a_connection_that_breaks_during_the_acknowledgements_costs_no_outcome(bench, message):
    def breaks() -> None:
        raise ConnectionResetError("cut")

    messages = [message(name_of_id) for name_of_id in ("a", "b", "c")]
    for each in messages[:2]:
        each.ack = breaks
    bench.pool.concurrency = 3
    bench.take(*messages)
    outcomes = [Outcome(job.seq, SUCCESS) for job in bench.pool.jobs]
    with pytest.raises(ConnectionResetError, match="cut"):
        bench.settlement.on_outcomes(outcomes)
    assert messages[2].settled == ["ack"]
    assert len(bench.ledger) == 0
    bench.intake.hang_up()
    bench.connect()
    again = [message(each, info={"redelivered": True}) for each in ("a", "b")]
    bench.take(*again)
    assert [each.settled for each in again] == [["ack"], ["ack"]]  # finished, so not run again


def test_a_lost_task_that_could_not_be_given_back_runs_again(bench, message):
    def breaks() -> None:
        raise ConnectionResetError("cut")

    first = message("a")
    first.requeue = breaks
    bench.take(first)
    with pytest.raises(ConnectionResetError):
        bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
    bench.intake.hang_up()
    bench.connect()
    bench.take(message("a", info={"redelivered": True}))
    assert len(bench.pool.jobs) == 1


def test_a_connection_that_breaks_at_an_early_acknowledgement_loses_no_task(bench, message):
    def breaks() -> None:
        raise ConnectionResetError("cut")

    late, early, other = message("a"), message("b", "early", ()), message("c", "early", ())
    early.ack = breaks
    bench.pool.concurrency = 3
    with pytest.raises(ConnectionResetError, match="cut"):
        bench.take(late, early, other)
    assert [job.kind for job in bench.pool.jobs] == ["add", "early"]
    assert (other.settled, bench.ledger.active()) == (["ack"], 2)
    bench.intake.hang_up()
    bench.connect()
    again = message("b", "early", (), info={"redelivered": True})
    bench.take(message("a", info={"redelivered": True}), again)
    assert [job.kind for job in bench.pool.jobs] == ["add", "early", "early"]
    assert again.settled == ["ack"]


def test_a_prefetch_limit_that_is_set_lasts(bench, message):
    bench.qos.set(10)
    bench.hand_over()
    assert bench.limits == [4, 10]
    bench.qos.increment_eventually(2)
    bench.hand_over()
    bench.qos.decrement_eventually(1)
    bench.hand_over()
    assert bench.limits == [4, 10, 12, 11]
    assert (bench.qos.value, bench.qos.prev) == (11, 11)
