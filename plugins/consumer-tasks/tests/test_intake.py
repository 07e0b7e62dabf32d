"""What is done with a message, decided by its headers; and what becomes of it later."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bootsteps import Outcome, hookimpl
from bootsteps_consumer_tasks.guard import DELIVERIES, LOST, QUARANTINE, UNKNOWN
from bootsteps_consumer_tasks.ledger import State
from bootsteps_consumer_tasks.outcome import Report

SUCCESS = Report("SUCCESS", "3").pack()


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


def test_a_message_that_nobody_decoded_is_taken_by_what_stands_in_it(bench, message, undecoded):
    first, damaged = undecoded(message()), undecoded(message("id-2"))
    damaged.undecoded, damaged.headers = ("", "{", "{"), {}
    first.headers = None  # nobody asks for them
    bench.take(first, damaged)
    bench.finish()
    assert (first.settled, damaged.settled) == (["ack"], ["reject"])


def test_a_strategy_that_was_put_in_place_gets_also_what_nobody_decoded(bench, message, undecoded):
    got: list[Any] = []
    bench.intake.strategies["add"] = got.append
    first = undecoded(message())
    bench.take(first)
    assert got == [first]
    assert bench.pool.jobs == []


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


def test_an_unknown_task_goes_back_and_is_parked_after_the_last_delay(bench, message, caplog):
    lost, again = message("id-9", "nobody.knows"), message("id-9", "nobody.knows", headers={UNKNOWN: 2})
    bench.take(lost)
    assert (lost.settled, bench.app.results.stored) == ([], [])
    assert bench.ledger.count(State.HELD) == 1
    bench.timer.advance(1.0)
    assert (bench.poster.posted, lost.settled) == ([("celery", {UNKNOWN: 1})], ["ack"])
    bench.take(again)
    [(queue, note)] = bench.poster.parked
    assert (queue, note[f"{QUARANTINE}-reason"]) == ("celery.quarantine", "no worker knows the task 'nobody.knows'")
    assert again.settled == ["ack"]
    [stored] = bench.app.results.stored
    assert (stored["task_id"], stored["status"]) == ("id-9", "FAILURE")
    assert stored["result"]["exc_type"] == "NotRegistered"
    assert "nobody.knows[id-9] is not registered" in caplog.text


def test_a_failing_result_store_does_not_hurt_the_worker(bench, message, caplog):
    bench.app.results.fails = True
    bench.take(message("id-9", "nobody.knows", headers={UNKNOWN: 2}))
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
    assert bench.intake.interrupt() == (0, 1)
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
    assert bench.intake.interrupt() == (1, 1)
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


def test_where_the_broker_does_not_count_the_message_does(bench, message):
    notes: list[dict[str, int]] = [{}]
    for number in range(3):
        each = message(f"a{number}", headers=notes[-1])  # another id each: as if other workers had it
        bench.take(each)
        bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
        assert each.settled == ["ack"]
        notes += [note for _, note in bench.poster.posted[number:]]
    assert notes == [{}, {LOST: 1}, {LOST: 2}]
    [(queue, note)] = bench.poster.parked
    assert (queue, note[f"{QUARANTINE}-attempts"]) == ("celery.quarantine", 3)
    assert [meta["task_id"] for meta in bench.app.results.stored] == ["a2"]


def test_a_task_that_comes_again_is_counted_before_it_runs_and_parked_in_the_end(bench, message):
    for count in range(4):
        each = message(info={"redelivered": True}, headers={DELIVERIES: count} if count else {})
        bench.take(each)
        assert each.settled == ["ack"]
    assert bench.poster.posted == [
        ("celery", {DELIVERIES: 1}),
        ("celery", {DELIVERIES: 2}),
        ("celery", {DELIVERIES: 3}),
    ]
    [(_, note)] = bench.poster.parked
    assert note[f"{QUARANTINE}-reason"] == "it was delivered 5 times and never acknowledged"
    assert bench.pool.jobs == []
    bench.take(message(headers={DELIVERIES: 3}))  # the copy itself comes for the first time
    assert len(bench.pool.jobs) == 1


def test_where_nothing_can_be_published_nothing_is_lost(bench, message, caplog):
    bench.poster.refused = True
    again, unknown = message("a", info={"redelivered": True}), message("b", "nobody", headers={UNKNOWN: 1})
    hopeless = message("c", "nobody", headers={UNKNOWN: 2})
    bench.take(again, unknown, hopeless)
    bench.timer.advance(2)
    assert (len(bench.pool.jobs), unknown.settled, hopeless.settled) == (1, ["requeue"], [])
    bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
    assert again.settled == ["requeue"]
    for text in ("runs uncounted", "goes back uncounted", "cannot be parked in celery.quarantine", "ACCESS_REFUSED"):
        assert text in caplog.text


def test_what_comes_again_in_one_turn_is_counted_together_and_what_is_refused_runs(bench, message, caplog):
    bench.poster.refuses = {1: "the queue is full"}
    again = [message(each, info={"redelivered": True}) for each in "abc"]
    bench.take(*again)
    assert [each.settled for each in again] == [["ack"], [], ["ack"]]
    assert bench.poster.posted == [("celery", {DELIVERIES: 1})] * 2
    assert [bench.ledger.find(each) is not None for each in "abc"] == [False, True, False]
    assert "[b] runs uncounted, a copy cannot be published: the queue is full" in caplog.text


def test_what_came_again_before_the_end_is_not_lost(bench, message):
    counted, uncounted = (message(each, info={"redelivered": True}) for each in "ab")
    bench.intake.on_message(counted)
    bench.intake.close()
    assert (bench.poster.posted, counted.settled) == ([("celery", {DELIVERIES: 1})], ["ack"])
    bench.connect()
    bench.poster.refused = True
    bench.intake.on_message(uncounted)
    bench.intake.close()
    assert uncounted.settled == ["requeue"]


def test_a_broker_that_counts_is_believed(bench, message):
    bench.take(message("a", info={"delivery_count": 3, "redelivered": True}))
    assert len(bench.pool.jobs) == 1
    bench.take(message("b", info={"delivery_count": 4, "redelivered": True}))
    assert (bench.poster.posted, len(bench.poster.parked)) == ([], 1)


def test_what_cannot_have_been_started_before_is_not_counted(bench, message):
    bench.take(message("eta", countdown=60, info={"redelivered": True}))
    bench.take(message("early", "early", (), info={"redelivered": True}))
    assert (bench.poster.posted, bench.ledger.count(State.HELD), len(bench.pool.jobs)) == ([], 1, 1)


def test_a_lost_early_task_is_not_run_again(bench, message):
    each = message("id-1", "early", ())
    bench.take(each)
    bench.finish(payload=b"", lost="child 7 exited with status 3")
    assert each.settled == ["ack"]
    assert bench.app.results.stored[0]["status"] == "FAILURE"


@pytest.mark.parametrize(("state", "settled"), [("RETRY", "ack"), ("IGNORED", "ack"), ("REJECTED", "reject")])
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
    bench.take(message("a"))  # once only: another message of that id is another run
    assert len(bench.pool.jobs) == 1


@pytest.mark.parametrize(("acks", "settled"), [(True, "ack"), (False, "reject"), (None, "ack")])
def test_a_task_that_failed_is_acknowledged_unless_it_says_otherwise(bench, message, app, acks, settled):
    app.tasks["add"].acks_on_failure = acks
    each = message()
    bench.take(each)
    bench.finish(payload=Report("FAILURE", "ValueError()").pack())
    assert each.settled == [settled]


def test_a_task_that_ran_out_of_time_may_be_tried_again_but_not_for_ever(bench, message, app):
    app.tasks["add"].acks_on_timeout = False
    for count in range(3):
        each = message(f"a{count}", headers={LOST: count} if count else {})
        bench.take(each)
        bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)", timed_out=2.5)
        assert each.settled == ["ack"]
    assert [note for _, note in bench.poster.posted] == [{LOST: 1}, {LOST: 2}]
    assert (len(bench.poster.parked), bench.app.results.stored[0]["result"]["exc_type"]) == (1, "TimeLimitExceeded")


@pytest.mark.parametrize(
    ("reject", "retry", "tried"), [(None, None, 1), (True, None, 1), (False, None, 0), (False, True, 1)]
)
def test_a_lost_task_is_tried_again_unless_that_is_not_wanted(bench, message, app, reject, retry, tried):
    app.tasks["add"].reject_on_worker_lost, app.tasks["add"].retry_on_worker_lost = reject, retry
    each = message()
    bench.take(each)
    bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
    assert (each.settled, len(bench.poster.posted), len(bench.app.results.stored)) == (["ack"], tried, 1 - tried)


def test_unknown_and_unusable_messages_are_announced(bench, message):
    heard: list[Any] = []

    class Listener:
        @hookimpl
        def task_unknown(self, name, id, message, error):
            heard.append(("unknown", name, id, message is unknown, type(error).__name__))

        @hookimpl
        def task_rejected(self, message, error):
            heard.append(("rejected", message is bad, str(error)[:16]))

        @hookimpl
        def task_quarantined(self, id, name, queue, reason):
            heard.append(("quarantined", id, name, queue, reason))

    bench.hooks.register(Listener(), "listener")
    unknown, bad = message("id-9", "nobody", headers={UNKNOWN: 2}), message()
    bad.headers = {}
    bench.take(unknown, bad)
    assert heard == [
        ("unknown", "nobody", "id-9", True, "NotRegistered"),
        ("quarantined", "id-9", "nobody", "celery.quarantine", "no worker knows the task 'nobody'"),
        ("rejected", True, "it names no task"),
    ]


def test_an_unknown_task_that_is_revoked_waits_for_nobody(bench, message):
    bench.control.revoke(["id-9"])
    unknown = message("id-9", "nobody")
    bench.take(unknown)
    assert (unknown.settled, len(bench.ledger)) == (["ack"], 0)


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
    first.ack = breaks
    bench.take(first)
    with pytest.raises(ConnectionResetError):
        bench.finish(payload=b"", lost="child 7 was killed by signal 9 (SIGKILL)")
    bench.intake.hang_up()
    bench.connect()
    again = message("a", info={"redelivered": True})
    bench.take(again)
    assert (again.settled, bench.pool.jobs) == (["ack"], [])  # it lives on in its copy
    assert bench.poster.posted == [("celery", {LOST: 1})]
    bench.take(message("a", headers={LOST: 1}))
    assert len(bench.pool.jobs) == 1


def test_a_task_that_gives_its_message_back_is_not_counted(bench, message):
    each = message()
    bench.take(each)
    bench.finish(payload=Report("REQUEUED", "not yet").pack())
    assert (bench.poster.posted, each.settled) == ([("celery", {})], ["ack"])


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


def test_a_running_request_tells_what_its_message_says(bench, message):
    asked = message("a", args=(1, 2), group_id="g", group_index=3, root_id="r", parent_id="p", shadow="alias")
    asked.properties |= {"reply_to": "inbox", "correlation_id": "c"}
    bench.take(asked)
    (request,) = bench.ledger.running()
    assert (request.id, request.name, request.pid, request.worker_pid) == ("a", "add", 1, 1)
    assert request.acknowledged is False
    assert (request.group, request.group_index, request.root_id, request.parent_id) == ("g", 3, "r", "p")
    assert (request.argsrepr, request.kwargsrepr, request.shadow) == ("(1, 2)", "{}", "alias")
    assert (request.reply_to, request.correlation_id, request.eta, request.expires) == ("inbox", "c", None, None)
    assert request.delivery_info["routing_key"] == "celery"
    assert request.time_start < datetime.now(UTC).timestamp()
