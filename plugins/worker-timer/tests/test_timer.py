"""The timer of the guide: call_after, call_repeatedly, call_at, priorities, cancel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bootsteps import TIMER
from bootsteps.testing import check_step, lifetime
from bootsteps_worker_timer.step import Timer


@pytest.fixture
def timer() -> Iterator[Any]:
    with lifetime(Timer) as worker:
        yield worker.get(TIMER)


def run_due(timer: Any, until: int, calls: list[Any], limit_s: float = 10.0) -> None:
    """Fire what is due, as the hub does, until so many calls were made."""
    schedule, ends = iter(timer), time.monotonic() + limit_s
    while len(calls) < until and time.monotonic() < ends:
        _, entry = next(schedule)
        if entry is not None:
            entry()
    assert len(calls) == until


def test_calls_after_a_while_with_arguments(timer):
    calls: list[Any] = []
    began = time.monotonic()
    timer.call_after(0.05, lambda *args, **kwargs: calls.append((args, kwargs)), (1, 2), {"x": 3})
    run_due(timer, 1, calls)
    assert calls == [((1, 2), {"x": 3})]
    assert time.monotonic() - began >= 0.05


def test_calls_repeatedly_until_cancelled(timer):
    calls: list[Any] = []
    entry = timer.call_repeatedly(0.01, calls.append, ("tick",), priority=10)
    run_due(timer, 3, calls)
    entry.cancel()
    assert entry.cancelled
    last: list[Any] = []
    timer.call_after(0.05, last.append, ("end",))
    run_due(timer, 1, last)
    assert calls == ["tick"] * 3


@pytest.mark.parametrize(
    "eta",
    [
        lambda: time.monotonic() + 0.03,
        lambda: datetime.now(UTC) + timedelta(seconds=0.03),
        lambda: (datetime.now(UTC) + timedelta(seconds=0.03)).replace(tzinfo=None),
    ],
)
def test_calls_at_a_monotonic_time_or_a_date(timer, eta):
    calls: list[Any] = []
    began = time.monotonic()
    timer.call_at(eta(), calls.append, ("due",))
    run_due(timer, 1, calls)
    assert 0.02 <= time.monotonic() - began < 5


def test_of_calls_due_at_one_moment_the_lower_priority_number_comes_first(timer):
    calls: list[Any] = []
    moment = time.monotonic() + 0.01
    for priority in (9, 0, 5):
        timer.call_at(moment, calls.append, (priority,), priority=priority)
    run_due(timer, 3, calls)
    assert calls == [0, 5, 9]


def test_a_cancelled_call_is_never_made(timer):
    calls: list[Any] = []
    timer.call_after(0.0, calls.append, ("cancelled",)).cancel()
    timer.cancel(timer.call_after(0.0, calls.append, ("cancelled too",)))
    timer.call_after(0.01, calls.append, ("kept",))
    run_due(timer, 1, calls)
    assert calls == ["kept"]


def test_stopping_forgets_what_is_scheduled():
    with lifetime(Timer) as worker:
        timer = worker.timer
        timer.call_after(100.0, print)
        assert len(timer) == 1
    assert len(timer) == 0


def test_keeps_the_contract():
    check_step(Timer)


def test_what_is_scheduled_can_be_looked_at_and_cleared(timer):
    late = timer.call_after(100.0, print, ("late",))
    soon = timer.call_after(50.0, print, ("soon",))
    assert [item.entry for item in timer.queue] == [soon, late]
    assert timer.schedule is timer
    assert not soon.cancelled
    timer.clear()
    assert (len(timer), timer.queue) == (0, [])


def test_an_error_in_a_call_does_not_end_the_timer(timer, caplog):
    failures: list[str] = []
    entry = timer.call_after(0.0, [].pop)
    timer.apply_entry(entry)
    assert "Error in timer" in caplog.text
    timer.on_error = lambda error: failures.append(str(error))
    timer.apply_entry(entry)
    assert failures == ["pop from empty list"]


def test_a_date_is_taken_when_the_call_is_scheduled(timer, monkeypatch):
    calls: list[Any] = []
    timer.call_at(datetime.now(UTC) + timedelta(seconds=0.05), calls.append, ("due",))
    monkeypatch.setattr(time, "time", lambda: 0.0)  # the wall clock is set back, and nobody asks it again
    run_due(timer, 1, calls)
    assert calls == ["due"]
