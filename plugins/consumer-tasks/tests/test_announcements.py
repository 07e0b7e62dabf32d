"""What listeners hear of a task, and that nobody pays for what nobody hears."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bootsteps import Outcome, hookimpl
from bootsteps_consumer_tasks.outcome import Report


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    @hookimpl
    def task_received(self, name, id, request):
        self.heard.append(("received", name, id, request.argsrepr))

    @hookimpl
    def task_started(self, request):
        self.heard.append(("started", request.id, request.pid))

    @hookimpl
    def task_settled(self, request, state, text, traceback):
        self.heard.append(("settled", request.id, state, text, traceback))

    @hookimpl
    def task_cancelled(self, request):
        self.heard.append(("cancelled", request.id))


@pytest.fixture
def listener(bench: Any) -> Listener:
    made = Listener()
    bench.hooks.register(made, "listener")
    return made


def test_a_short_task_is_told_to_have_started_just_before_its_end(bench, message, listener):
    bench.take(message())
    assert listener.heard == [("received", "add", "id-1", "(1, 2)")]
    bench.finish(pid=77, runtime_s=0.1)
    assert listener.heard[1:] == [("started", "id-1", 77), ("settled", "id-1", "SUCCESS", "3", "")]


def test_a_long_task_is_told_to_have_started_while_it_runs_and_once(bench, message, listener):
    bench.take(message(), message("id-2"))
    bench.timer.advance(1)
    assert listener.heard[2:] == [("started", "id-1", 1)]
    bench.finish(pid=1)
    bench.hand_over()
    assert [what for what, *_ in listener.heard].count("started") == 1
    bench.timer.advance(1)
    assert listener.heard[-1] == ("started", "id-2", 1)
    assert bench.timer.pending == 0


def test_a_task_behind_another_in_its_child_is_not_told_to_have_started(bench, message, listener):
    bench.pool.concurrency = 2
    bench.take(message(), message("id-2"))
    bench.pool.concurrency = 1  # so that one of both runs
    bench.timer.advance(0.5)
    assert [fact for fact in listener.heard if fact[0] == "started"] == [("started", "id-1", 1)]
    assert bench.timer.pending == 1
    bench.starts.stop()
    assert bench.timer.pending == 0


def test_nobody_looks_for_starts_when_nobody_listens(bench, message):
    bench.take(message())
    assert bench.timer.pending == 0
    assert not bench.starts
    listener = Listener()
    bench.hooks.register(listener, "listener")
    bench.finish()  # it began unheard, and is not told of late
    assert [what for what, *_ in listener.heard] == ["settled"]


def test_a_listener_that_leaves_is_looked_for_no_more(bench, message, listener):
    bench.pool.concurrency = 2
    bench.take(message(), message("id-2"))
    bench.pool.concurrency = 1
    bench.hooks.unregister(listener)
    bench.timer.advance(1)
    assert bench.timer.pending == 0


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (Report("FAILURE", "ValueError()", "Traceback"), ("FAILURE", "ValueError()", "Traceback")),
        (Report("RETRY", "Retry in 1s", "Traceback", cause="KeyError()"), ("RETRY", "KeyError()", "Traceback")),
        (Report("REJECTED", "no", "Traceback", cause="Reject('no')"), ("REJECTED", "Reject('no')", "Traceback")),
        (Report("IGNORED", "Ignore()"), ("IGNORED", "Ignore()", "")),
    ],
)
def test_how_a_run_ended_is_told_with_its_text(bench, message, listener, report, told):
    bench.take(message())
    bench.finish(payload=report.pack())
    assert listener.heard[-1] == ("settled", "id-1", *told)


def test_a_lost_task_that_is_not_tried_again_failed(bench, message, listener):
    bench.take(message("id-2", "early", ()))
    seq = bench.pool.jobs[0].seq
    bench.pool.finish(Outcome(seq, lost="killed by signal 9", pid=5))
    assert [fact[0] for fact in listener.heard] == ["received", "settled"]  # it never started
    error = "WorkerLostError('Worker exited prematurely: killed by signal 9')"
    assert listener.heard[-1][:4] == ("settled", "id-2", "FAILURE", error)
    assert listener.heard[-1][4].startswith("WorkerLostError: ")


def test_an_unknown_task_that_is_given_up_failed_once_it_is_parked(bench, message, listener):
    bench.take(message("id-9", "nobody", headers={"x-bootsteps-unknown": 2}))
    assert [fact[0] for fact in listener.heard] == ["settled"]
    assert listener.heard[0][1:3] == ("id-9", "FAILURE")
    assert listener.heard[0][4] == ""


def test_what_runs_when_the_worker_ends_at_once_is_cancelled(bench, message, listener):
    bench.take(message(), message("id-2"))
    assert bench.intake.interrupt() == (1, 1)
    assert listener.heard[2:] == [("cancelled", "id-1")]


def test_only_what_the_pool_got_is_counted_as_processed(bench, message):
    bench.take(message(), message("id-2"))
    assert bench.ledger.processed() == 1
    bench.finish()
    bench.hand_over()
    assert bench.ledger.processed() == 2


def test_the_start_of_a_short_task_is_reckoned_back_from_its_end(bench, message):
    found: list[Any] = []

    class Starts:
        @hookimpl
        def task_started(self, request):
            found.append(request.time_start)

    bench.hooks.register(Starts(), "starts")
    bench.take(message())
    bench.finish(runtime_s=10.0)
    assert found[0] == pytest.approx(time.time() - 10, abs=1)
