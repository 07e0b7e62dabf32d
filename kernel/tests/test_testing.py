"""The kit for authors: it passes good steps and tells what is wrong with bad ones."""

from __future__ import annotations

import pytest

from bootsteps import HUB, POOL, REQUESTS, TIMER, Job, Outcome, RequestLog, ServiceKey, Setting, Step
from bootsteps.testing import FakeHub, FakePool, FakeRequests, FakeTimer, check_step, lifetime

AFTER = Setting("stuck_after", float, 3600.0, unit="s", help="warn about tasks running longer than this")


class Watch:
    def __init__(self, requests: RequestLog, limit_s: float) -> None:
        self.requests = requests
        self.limit_s = limit_s


WATCH = ServiceKey[Watch]("stuck_watch")


class StuckWatch(Step):
    provides = (WATCH,)
    requires = (REQUESTS, TIMER, HUB)
    settings = (AFTER,)

    def create(self, worker):
        return Watch(worker.get(REQUESTS), worker.setting(AFTER))

    def start(self, worker):
        entry = worker.timer.call_repeatedly(30.0, lambda: None)
        worker.on_stop(entry.cancel)
        worker.hub.add_reader(7, lambda: None)
        worker.on_stop(lambda: worker.hub.remove(7))


def test_a_lifetime_starts_and_stops_one_step_among_fakes():
    timer, requests = FakeTimer(), FakeRequests(running=[("add", 99.0)])
    with lifetime(StuckWatch, {TIMER: timer, REQUESTS: requests, HUB: FakeHub()}, stuck_after=10.0) as worker:
        assert worker.get(WATCH).limit_s == 10.0
        assert [request.name for request in worker.get(WATCH).requests.running()] == ["add"]
        assert timer.pending == 1
    assert timer.pending == 0


def test_a_good_step_keeps_the_contract():
    check_step(StuckWatch)
    check_step(Step)


class LeavesTimer(Step):
    requires = (TIMER,)

    def start(self, parent):
        parent.timer.call_after(1.0, print)


class LeavesDescriptor(Step):
    requires = (HUB,)

    def start(self, parent):
        parent.hub.add_writer(3, print)


class LeavesTick(Step):
    requires = (HUB,)

    def start(self, parent):
        parent.hub.on_tick.add(print)


class LendsNothing(Step):
    provides = (WATCH,)


class FailsToStop(Step):
    def stop(self, parent):
        raise ValueError("stuck")


class StopsOnce(Step):
    stopped = False

    def stop(self, parent):
        if self.stopped:
            raise ValueError("again")
        self.stopped = True


class LeavesTimerAfterHalf(Step):
    requires = (TIMER,)

    def start(self, parent):
        self.entry = parent.timer.call_after(1.0, print)

    def close(self, parent):
        self.entry.cancel()


@pytest.mark.parametrize(
    ("cls", "complaint"),
    [
        (LeavesTimer, "left 1 calls on the timer"),
        (LeavesDescriptor, "left descriptors on the hub"),
        (LeavesTick, "left 1 callbacks in hub.on_tick"),
        (LendsNothing, r"declares that it provides \['stuck_watch'\] and does not lend it"),
        (FailsToStop, "failed to stop"),
        (StopsOnce, "failed to stop"),
        (LeavesTimerAfterHalf, "left 1 calls on the timer"),
    ],
)
def test_a_bad_step_is_told_what_it_breaks(cls, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_step(cls)


def test_the_fake_timer_runs_what_is_due_by_time_and_priority():
    timer, calls = FakeTimer(), list[str]()
    timer.call_at(5.0, calls.append, ("low",), priority=9)
    timer.call_at(5.0, calls.append, ("high",), priority=1)
    every = timer.call_repeatedly(2.0, calls.append, ("tick",))
    timer.call_after(1.0, calls.append, kwargs={}, args=("soon",))
    timer.advance(4.5)
    assert calls == ["soon", "tick", "tick"]
    every.cancel()
    timer.advance(1.0)
    assert calls == ["soon", "tick", "tick", "high", "low"]


def test_the_fake_pool_keeps_jobs_until_they_are_finished():
    pool, seen = FakePool(concurrency=2), list[Outcome]()
    pool.connect(seen.extend)
    pool.submit([Job(1, b"a"), Job(2, b"b")])
    assert pool.free() == 0
    pool.finish(Outcome(1, b"done"))
    assert (pool.free(), [outcome.seq for outcome in seen]) == (1, [1])


def test_the_fake_hub_is_turned_by_hand():
    hub, calls = FakeHub(), list[str]()
    hub.add_reader(3, calls.append, "read")
    hub.ready(3)
    hub.call_soon(calls.append, "soon")
    hub.on_tick.add(lambda: calls.append("tick"))
    hub.run_once()
    assert calls == ["read", "soon", "tick"]


def test_fakes_of_the_standard_services_are_given_unless_others_are():
    class Uses(Step):
        requires = (POOL, REQUESTS)

        def start(self, parent):
            parent.pool.submit([])
            parent.get(REQUESTS).running()

    check_step(Uses)


def test_a_step_may_require_a_fake_by_the_name_of_the_guides():
    class Pulse(Step):
        requires = ("Timer",)

        def start(self, parent):
            parent.on_stop(parent.timer.call_repeatedly(60.0, print).cancel)

    check_step(Pulse)
    with lifetime(Pulse, {TIMER: FakeTimer()}) as parent:
        assert parent.timer.pending == 1
