"""Intervals, the sun, and what else may stand in `beat_schedule`."""

from __future__ import annotations

import pickle
import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from bootsteps import SettingError
from bootsteps.errors import MissingRequirement
from bootsteps_tasks import App
from bootsteps_worker_beat import BaseSchedule, ScheduleError, crontab, schedule, solar
from bootsteps_worker_beat.schedules import maybe_schedule
from bootsteps_worker_beat.settings import SCHEDULE, SCHEDULER

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def test_an_interval_is_due_so_long_after_its_last_run() -> None:
    found = schedule(10.0, nowfun=lambda: NOON)
    assert found.is_due(NOON - timedelta(seconds=4)) == (False, 6.0)
    assert found.is_due(NOON - timedelta(seconds=10)) == (True, 10.0)
    assert found.remaining_estimate(NOON - timedelta(seconds=12)) == timedelta(seconds=-2)


def _same(now: datetime) -> datetime:
    return now


@pytest.mark.parametrize("seed", range(3))
def test_celery_says_the_same_of_intervals_also_relative_ones(seed: int) -> None:
    schedules, celery = pytest.importorskip("celery.schedules"), pytest.importorskip("celery")
    chance, theirs = random.Random(seed), celery.Celery("peer", set_as_current=False)
    for _ in range(500):
        every = timedelta(seconds=chance.choice([1, 7, 60, 90, 300, 3600, 5400, 86400, 200000]) * chance.choice([1, 2]))
        last = NOON + timedelta(seconds=chance.randrange(10**7))
        now = last + every * 2 * chance.random()
        for relative in (False, True):
            peer = schedules.schedule(every, relative, nowfun=partial(_same, now), app=theirs)
            ours = schedule(every, relative, nowfun=partial(_same, now))
            assert ours.remaining_estimate(last) == peer.remaining_estimate(last), (every, relative, last, now)
            assert ours.is_due(last).is_due == peer.is_due(last).is_due


def test_relative_days_are_those_of_the_zone() -> None:
    found = schedule(timedelta(days=1), relative=True, app=App("berlin", timezone="Europe/Berlin"))
    assert found.next_after(datetime(2025, 3, 29, 23, 30, tzinfo=UTC)) == datetime(2025, 3, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize("wrong", [0, -1, "10", None, True, object()])
def test_what_is_no_schedule_is_refused(wrong: object) -> None:
    with pytest.raises(ScheduleError):
        maybe_schedule(wrong)


def test_a_schedule_of_ones_own_needs_is_due_only() -> None:
    class Odd(BaseSchedule):
        def is_due(self, last_run_at: datetime) -> tuple[bool, float]:  # type: ignore[override]
            return (True, 1.0) if last_run_at.minute % 2 else (False, 30.0)

        def remaining_estimate(self, last_run_at: datetime) -> timedelta:
            return timedelta(seconds=30)

    found = maybe_schedule(Odd())
    assert found.due_at(NOON, NOON) == NOON + timedelta(seconds=30)
    assert found.due_at(NOON + timedelta(minutes=1), NOON) == NOON


def test_the_sun_rises_when_celery_says_it_does() -> None:
    pytest.importorskip("ephem")
    schedules, celery = pytest.importorskip("celery.schedules"), pytest.importorskip("celery")
    chance, theirs = random.Random(1), celery.Celery("peer", set_as_current=False)
    for event in sorted(schedules.solar._all_events):
        for _ in range(10):
            place = chance.uniform(-89, 89), chance.uniform(-180, 180)
            last = NOON + timedelta(seconds=chance.randrange(86400 * 365))
            peer = schedules.solar(event, *place, nowfun=lambda: NOON, app=theirs)
            ours = solar(event, *place, nowfun=lambda: NOON)
            assert abs(ours.remaining_estimate(last) - peer.remaining_estimate(last)) < timedelta(seconds=1)
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert repr(ours) == repr(peer)


@pytest.mark.parametrize(("event", "lat", "lon"), [("sunrize", 0, 0), ("sunrise", 91, 0), ("sunrise", 0, -181)])
def test_what_is_no_event_or_place_is_refused(event: str, lat: float, lon: float) -> None:
    with pytest.raises(ScheduleError, match="solar: "):
        solar(event, lat, lon)


def test_without_ephem_the_sun_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ephem", None)
    with pytest.raises(MissingRequirement, match="which is not installed") as caught:
        solar("sunrise", 50, 8)
    assert caught.value.fix == "pip install bootsteps-worker-beat[solar]"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"task": "t", "schedule": 1, "arg": ()}, "has no 'arg'; did you mean 'args'"),
        ({"schedule": 1}, "needs a task"),
        ({"task": "t"}, "None is no schedule"),
        ({"task": "t", "schedule": 0}, "above 0 seconds"),
        (3, "is a mapping"),
    ],
)
def test_a_wrong_entry_is_named(entry: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        SCHEDULE.parse({"name": entry})


def test_right_entries_and_celerys_schedulers_are_taken() -> None:
    entry = {
        "task": "t",
        "schedule": crontab(),
        "args": (1,),
        "kwargs": {},
        "options": {"queue": "q"},
        "relative": True,
    }
    assert SCHEDULE.parse({"name": entry}) == {"name": entry}
    assert SCHEDULER.parse("celery.beat:PersistentScheduler") == SCHEDULER.default
