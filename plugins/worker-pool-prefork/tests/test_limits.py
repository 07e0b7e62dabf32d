"""Soft limits, which a job can catch, and hard ones, which nothing survives."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from bootsteps import Job, TimerEntry
from bootsteps_pool_processes.limits import LONGEST_S, Deadlines, capped, run_limited
from bootsteps_pool_processes.load import Load

if TYPE_CHECKING:
    from conftest import Fifo, Make

ENDLESS = [b"busy", b"sleep 60", b"stubborn"]


@pytest.mark.parametrize("endless", ENDLESS)
def test_a_job_is_killed_at_its_hard_limit_and_its_child_replaced(bench: Make, endless: bytes) -> None:
    b = bench(1)
    b.ready()
    (pid,) = b.pids
    began = time.monotonic()
    (outcome,) = b.done(b.submit(endless, hard=0.3, soft=0.1 if endless == b"stubborn" else None))
    assert 0.3 <= time.monotonic() - began < 5.0
    assert (outcome.timed_out, outcome.pid, outcome.payload) == (0.3, pid, b"")
    assert outcome.lost == f"child {pid} was killed by signal 9 (SIGKILL)"
    assert outcome.runtime_s >= 0.3
    b.until(lambda: b.pids and b.pids != [pid])
    assert b.do(b"echo fine")[0].payload == b"fine"
    assert b.announced == [], "a child that the pool ended itself is not lost"


def test_neighbours_and_what_waited_behind_are_not_hit_by_a_hard_limit(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    waiting, go_on = fifo()
    (neighbour,) = b.submit(waiting)
    pid = b.running(neighbour)
    b.done(b.submit(*[b"echo"] * 20, kind="k"))  # known as short, so the next are put into one batch
    late, *behind = b.submit(b"busy", *[b"echo %d" % number for number in range(20)], kind="k", hard=0.3)
    assert b.done([late])[0].timed_out == 0.3
    assert [outcome.payload for outcome in b.done(behind)] == [b"%d" % number for number in range(20)]
    go_on()
    (outcome,) = b.done([neighbour])
    assert (outcome.payload, outcome.pid, outcome.timed_out) == (b"told", pid, None)


def test_jobs_that_time_out_one_after_the_other_are_not_taken_for_children_that_die_at_their_start(
    bench: Make,
) -> None:
    b = bench(1)
    outcomes = b.done(b.submit(*[b"busy"] * 4, hard=0.05))
    assert [outcome.timed_out for outcome in outcomes] == [0.05] * 4
    assert len({outcome.pid for outcome in outcomes}) == 4
    pauses = [delay for delay in b.loop.delays if delay > 0.06]  # the limit itself is waited for too
    assert pauses == [], "each was replaced at once"


@pytest.mark.parametrize("endless", [b"busy", b"sleep 60"])
def test_an_uncaught_soft_limit_costs_the_job_and_not_the_child(bench: Make, endless: bytes) -> None:
    b = bench(1)
    b.ready()
    (pid,) = b.pids
    (outcome,) = b.done(b.submit(endless, soft=0.2))
    assert outcome.lost == "the runner raised TimeoutError: the soft time limit of 0.2 s is over"
    assert (outcome.timed_out, outcome.pid) == (None, pid)
    assert outcome.runtime_s >= 0.2
    assert b.do(b"pid")[0].payload == b"%d" % pid


def test_a_soft_limit_can_be_caught(bench: Make) -> None:
    b = bench(1)
    (outcome,) = b.done(b.submit(b"catch", soft=0.2, hard=30.0))
    assert (outcome.payload, outcome.lost) == (b"the soft time limit of 0.2 s is over", None)


def test_a_job_right_behind_a_limited_one_is_hit_by_neither_limit(bench: Make) -> None:
    b = bench(1)
    b.ready()
    (pid,) = b.pids
    for _ in range(10):
        limited = b.submit(b"sleep 0.01", soft=0.05, hard=0.1)
        unlimited = b.submit(b"sleep 0.12")
        assert [outcome.payload for outcome in b.done([*limited, *unlimited])] == [b"slept", b"slept"]
    assert b.pids == [pid]


def test_a_limit_leaves_no_timer_and_no_handler_behind(bench: Make) -> None:
    b = bench(1)
    b.done(b.submit(b"echo", soft=30.0, hard=30.0))
    state = json.loads(b.do(b"state")[0].payload)
    assert state["handlers"][2] == str(signal.SIG_DFL)


def test_a_child_that_is_stopped_is_killed_at_the_hard_limit_too(bench: Make) -> None:
    b = bench(1)
    (seq,) = b.submit(b"sleep 60", hard=0.5)
    os.kill(b.running(seq), signal.SIGSTOP)
    assert b.done([seq])[0].timed_out == 0.5


def test_limits_beyond_every_timer_are_none_in_effect(bench: Make) -> None:
    b = bench(1)
    assert b.done(b.submit(b"echo fine", soft=1e300, hard=float("inf")))[0].payload == b"fine"
    assert capped(10**400) == LONGEST_S
    assert capped(None) == 0.0


class Interruptible:
    """Notes when it is interrupted."""

    def __init__(self) -> None:
        self.limits: list[float] = []

    def start(self) -> None: ...
    def flush(self) -> None: ...
    def stop(self) -> None: ...

    def interrupt(self, limit_s: float) -> None:
        self.limits.append(limit_s)

    def run(self, payload: bytes) -> bytes:
        ends = time.monotonic() + 20
        while payload == b"long" and not self.limits and time.monotonic() < ends:
            pass
        return payload


def test_the_runner_decides_what_the_soft_limit_does() -> None:
    runner, before = Interruptible(), signal.getsignal(signal.SIGALRM)
    assert run_limited(runner, b"short", 20.0) == b"short"
    assert runner.limits == []
    assert run_limited(runner, b"long", 0.05) == b"long"
    assert runner.limits == [0.05]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


class Clock:
    """A timer that only counts."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.cancelled = 0

    def call_after(self, secs: float, *_: object, **__: object) -> TimerEntry:
        self.delays.append(secs)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


def test_one_timer_entry_serves_all_jobs() -> None:
    clock = Clock()
    deadlines = Deadlines(clock, list, lambda child, job: None)  # type: ignore[arg-type]
    deadlines.watch([Job(1, b""), Job(2, b"", soft_time_limit_s=1.0)], 100.0)
    assert clock.delays == [], "nothing to wait for"
    for number in range(1000):
        deadlines.watch(
            [Job(number, b"", time_limit_s=60.0), Job(number, b"", time_limit_s=50.0)], 100.0 + number / 1e3
        )
    assert clock.delays == [50.0]
    deadlines.watch([Job(3, b"", time_limit_s=5.0)], 101.0)
    assert (clock.delays, clock.cancelled) == ([50.0, 5.0], 1)
    deadlines.stop()
    assert clock.cancelled == 2


def test_a_job_that_ends_while_its_child_is_being_killed_was_late_all_the_same(bench: Make) -> None:
    class Gone:
        """A dead child whose slot was empty already."""

        pid = 1
        timed_out = {1: Job(1, b"", time_limit_s=2.5)}
        load = Load()

        def take_back(self) -> list[Job]:
            return []

        def runs(self) -> dict[int, float]:
            return {}

    b = bench(1)
    Gone.load.add(Gone.timed_out[1], 0.0, 0.0)
    Gone.load.add(Job(2, b""), 0.0, 0.0)
    b.pool.on_end(Gone(), "killed")  # type: ignore[arg-type]
    assert (b.outcomes[1].timed_out, b.outcomes[1].lost) == (2.5, "killed")
    assert (b.outcomes[2].timed_out, b.outcomes[2].lost) == (None, "killed before it reported this job")


def test_a_job_that_survives_its_hard_limit_is_a_complaint(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(1)
    assert list(b.pool.complaints()) == ["no child of 1 is ready"]
    b.ready()
    assert list(b.pool.complaints()) == []
    (child,) = b.pool._crew.children
    monkeypatch.setattr(child, "kill", lambda number: None)  # as one in the system's hands, which no signal reaches
    (seq,) = b.submit(b"sleep 60", hard=0.3)
    told = [f"child {child.pid} runs job {seq} beyond its hard limit"]
    b.until(lambda: list(b.pool.complaints()) == told)
    monkeypatch.undo()
    child.kill(signal.SIGKILL)
    b.done([seq])
    b.ready()
    assert list(b.pool.complaints()) == []
