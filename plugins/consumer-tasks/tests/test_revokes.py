"""Tasks that must not run any more, wherever they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bootsteps import KernelError, hookimpl
from bootsteps_consumer_tasks.envelope import unpack
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_consumer_tasks.taskcontrol import signal_number


@pytest.fixture
def bench(make_bench: Any) -> Any:
    return make_bench()


@pytest.fixture
def heard(bench: Any) -> list[Any]:
    heard: list[Any] = []

    class Listener:
        @hookimpl
        def task_revoked(self, request, terminated, signum, expired):
            heard.append((request.id, terminated, signum, expired))

    bench.hooks.register(Listener(), "listener")
    return heard


def stored(bench: Any) -> list[Any]:
    return [(meta["task_id"], meta["status"], meta["result"]["exc_message"]) for meta in bench.app.results.stored]


def test_a_revoked_task_is_discarded_at_its_receipt(bench, message, heard):
    bench.control.revoke(["a", "b"])
    first, other = message("a"), message("c")
    bench.take(first, other)
    assert (first.settled, other.settled) == (["ack"], [])
    assert [job.kind for job in bench.pool.jobs] == ["add"]
    assert stored(bench) == [("a", "REVOKED", ["revoked"])]
    assert heard == [("a", False, None, False)]


@pytest.mark.parametrize("where", ["reserved", "held", "limited"])
def test_a_revoked_task_that_waits_is_discarded_at_once(bench, message, heard, where, app):
    app.tasks["early"].rate_limit = "1/h"
    bench.buckets.reset()
    waiting = {
        "reserved": message("b"),
        "held": message("b", countdown=60),
        "limited": message("b", "early", ()),
    }[where]
    bench.take(message("first", "early", ()), waiting)
    bench.control.revoke(["b"])
    bench.hand_over()
    assert waiting.settled == ["ack"]
    assert stored(bench) == [("b", "REVOKED", ["revoked"])]
    assert len(bench.ledger) == 1
    bench.finish()
    bench.timer.advance(120)
    bench.hand_over()
    assert bench.pool.jobs == []


def test_revoked_ids_of_others_and_expiry_count_right_before_the_start(bench, message, heard):
    moment = datetime.now(UTC) + timedelta(seconds=0.05)
    bench.take(message("running"), message("revoked"), message("late", expires=moment), message("fine"))
    bench.revoked.update(["revoked"])
    while datetime.now(UTC) <= moment:
        pass
    bench.finish()
    bench.hand_over()
    assert [name for name, *_ in stored(bench)] == ["revoked", "late"]
    assert heard == [("revoked", False, None, False), ("late", False, None, True)]
    assert [bench.ledger.find(name) is not None for name in ("revoked", "late", "fine")] == [False, False, True]
    assert len(bench.pool.jobs) == 1


def test_a_running_task_is_terminated_by_any_signal(bench, message, heard):
    told: list[Any] = []

    def terminate_job(seq: int, signum: int) -> bool:
        told.append((seq, signum))
        return len(told) > 1

    bench.pool.capabilities = frozenset({"terminate"})
    bench.pool.terminate_job = terminate_job
    each = message("a")
    bench.take(each)
    assert bench.control.revoke(["a", "elsewhere"], terminate=True, signal="KILL") == ["a"]
    bench.timer.advance(0.1)  # the child had not started it at first
    seq = bench.pool.jobs[0].seq
    assert told == [(seq, 9), (seq, 9)]
    bench.finish(payload=b"", lost="child 1 was killed by signal 9 (SIGKILL)")
    assert (each.settled, bench.poster.posted) == (["ack"], [])
    assert stored(bench) == [("a", "REVOKED", ["terminated"])]
    assert heard == [("a", True, 9, False)]


def test_without_terminate_a_running_task_goes_on(bench, message):
    each = message("a")
    bench.take(each)
    assert bench.control.revoke(["a"]) == []
    bench.hand_over()
    bench.finish()
    assert each.settled == ["ack"]
    assert bench.app.results.stored == []


def test_a_pool_that_cannot_terminate_says_so_and_the_id_is_revoked(bench, message):
    bench.take(message("a"))
    with pytest.raises(KernelError, match="pool cannot terminate"):
        bench.control.revoke(["a"], terminate=True)
    assert "a" in bench.revoked


@pytest.mark.parametrize(("name", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), (2, 2)])
def test_a_signal_is_a_name_or_a_number(name, number):
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["SIGNONE", "0", -1, 4711, None, True])
def test_an_unknown_signal_revokes_nothing(bench, name):
    with pytest.raises(KernelError, match="there is no signal"):
        bench.control.revoke(["a"], terminate=True, signal=name)
    assert not bench.revoked


def test_stamps_revoke_what_waits_and_what_comes(bench, message):
    def stamped(task_id: str, **stamps: Any) -> Any:
        return message(task_id, headers={"stamped_headers": sorted(stamps), "stamps": stamps})

    running, waiting = message("running"), stamped("waiting", tenant=["x", "acme"])
    bench.take(running, waiting)
    bench.control.revoke_by_stamps({"tenant": ["acme"], "other": ["1"]})
    bench.take(stamped("number", other=1), stamped("fine", tenant="b"), stamped("later", tenant="acme"))
    assert sorted(name for name, *_ in stored(bench)) == ["later", "number", "waiting"]
    assert bench.ledger.find("fine") is not None


def test_ids_are_forgotten_in_time_and_beyond_the_limit():
    now = [0.0]
    revoked = Revoked(limit=3, expires_s=10, clock=lambda: now[0])
    assert not revoked
    revoked.update(["a", "b", "c", "d"])
    assert revoked.snapshot() == ["b", "c", "d"]
    now[0] = 5
    revoked.add("b")
    now[0] = 11
    assert ("b" in revoked, "c" in revoked) == (True, False)
    assert revoked.snapshot() == ["b"]


CHAIN = {"callbacks": None, "errbacks": None, "chord": None, "chain": [{"task": "add", "args": [1], "kwargs": {}}]}


def test_who_depends_on_a_revoked_task_is_told_by_a_child_before_it_is_acknowledged(bench, message):
    alone, chained = message("alone"), message("chained", embed=CHAIN)
    bench.control.revoke(["alone", "chained"])
    bench.take(alone, chained)
    assert alone.settled == ["ack"]
    assert [meta["task_id"] for meta in bench.app.results.stored] == ["alone"]
    assert chained.settled == []
    (job,) = bench.pool.jobs
    assert repr(unpack(job.payload).verdict) == "('REVOKED', TaskRevokedError('revoked'))"
    assert bench.ledger.active() == 1
    bench.finish()
    assert chained.settled == ["ack"]
    assert len(bench.ledger) == 0


def test_a_child_that_dies_of_telling_leaves_it_to_the_parent(bench, message):
    chained = message("chained", embed=CHAIN)
    bench.control.revoke(["chained"])
    bench.take(chained)
    bench.finish(payload=b"", lost="child 1 was killed by signal 9")
    assert chained.settled == ["ack"]
    (stored,) = bench.app.results.stored
    assert (stored["task_id"], stored["result"]["exc_type"]) == ("chained", "WorkerLostError")


def test_an_answer_of_the_parent_goes_where_the_task_wants_it(bench, message):
    bench.control.revoke(["a"])
    asked = message("a", group_id="g", parent_id="p")
    asked.properties |= {"reply_to": "inbox", "correlation_id": "c"}
    bench.take(asked)
    (stored,) = bench.app.results.stored
    assert (stored.reply_to, stored.correlation_id) == ("inbox", "c")
    assert (stored["group_id"], stored["parent_id"]) == ("g", "p")
