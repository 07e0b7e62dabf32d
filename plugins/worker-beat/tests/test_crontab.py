"""Crontabs: Celery's answers for thousands of them, and what Celery does not say of clocks that are put forward."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bootsteps_tasks import App
from bootsteps_worker_beat import ScheduleError, crontab

BERLIN = App("berlin", timezone="Europe/Berlin")


def at(text: str, app: App = BERLIN) -> datetime:
    """A moment on the wall of the application's zone; with a `'` behind it the second of two."""
    return datetime.fromisoformat(text.rstrip("'")).replace(tzinfo=crontab(app=app).tz, fold=text.endswith("'"))


def runs(found: crontab, start: str, end: str, app: App = BERLIN) -> list[str]:
    """When it is due between two moments, as the clock shows it."""
    found.app = app
    shown, moment = [], found.next_after(at(start, app))
    while moment <= at(end, app):
        local = moment.astimezone(found.tz)
        shown.append(f"{local:%H:%M}{chr(39) * local.fold}")
        moment = found.next_after(moment)
    return shown


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minute": "30", "hour": "2"}, ["03:00"]),
        ({"minute": "*/15", "hour": "2,3"}, ["03:00", "03:15", "03:30", "03:45"]),
        ({"minute": "*/20", "hour": "1-3"}, ["01:00", "01:20", "01:40", "03:00", "03:20", "03:40"]),
        ({"minute": "30"}, ["00:30", "01:30", "03:30", "04:30"]),
        ({"minute": "0", "hour": "3"}, ["03:00"]),
    ],
)
def test_what_falls_into_a_skipped_hour_is_due_once_after_it(spec: dict[str, Any], expected: list[str]) -> None:
    assert runs(crontab(**spec), "2025-03-30T00:10", "2025-03-30T04:59") == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minute": "30", "hour": "2"}, ["02:30"]),
        ({"minute": "*/30", "hour": "2,3"}, ["02:00", "02:30", "03:00", "03:30"]),
        ({"minute": "30"}, ["00:30", "01:30", "02:30", "02:30'", "03:30", "04:30"]),
        ({"minute": "0,59"}, ["00:59", "01:00", "01:59", "02:00", "02:59",
                                 "02:00'", "02:59'", "03:00", "03:59", "04:00", "04:59"]),
    ],
)  # fmt: skip
def test_what_falls_into_a_repeated_hour_is_due_once_unless_it_is_due_each_hour(
    spec: dict[str, Any], expected: list[str]
) -> None:
    assert runs(crontab(**spec), "2025-10-26T00:10", "2025-10-26T04:59") == expected


def test_a_beat_that_starts_in_the_second_of_two_hours_does_not_repeat_what_was_due_in_the_first() -> None:
    found = crontab(minute=30, hour=2, app=BERLIN)
    assert found.next_after(at("2025-10-26T02:10'")) == at("2025-10-27T02:30")


def test_an_offset_of_half_an_hour() -> None:
    lord_howe = App("lord-howe", timezone="Australia/Lord_Howe")
    assert runs(crontab("*/15"), "2025-04-06T01:20", "2025-04-06T02:20", lord_howe) == [
        "01:30", "01:45", "01:30'", "01:45'", "02:00", "02:15",
    ]  # fmt: skip
    assert runs(crontab("15", "1,2"), "2025-10-05T01:00", "2025-10-05T02:59", lord_howe) == ["01:15", "02:30"]


def every_minute(start: datetime, end: datetime) -> Iterator[datetime]:
    while start <= end:
        yield start
        start += timedelta(minutes=1)


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"])
@pytest.mark.parametrize("year", [2017])
def test_each_hours_minutes_are_due_whenever_the_clock_shows_them(name: str, year: int) -> None:
    app, zone = App("zoned", timezone=name), ZoneInfo(name)
    found = crontab(minute="7-59/13", day_of_week="0,6", app=app)
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)
    due, moment = [], found.next_after(start)
    while moment <= end:
        due.append(moment)
        moment = found.next_after(moment)
    local = ((minute, minute.astimezone(zone)) for minute in every_minute(start, end))
    assert due == [m for m, wall in local if wall.minute in found.minute and wall.isoweekday() in (6, 7)]


def field(chance: random.Random, low: int, high: int) -> str:
    kind, a, b = chance.randrange(7), chance.randint(low, high), chance.randint(low, high)
    if kind <= 2:
        return "*"
    if kind == 3:
        return f"*/{chance.randint(1, high - low + 1)}"
    if kind == 4:
        return str(a)
    if kind == 5:
        return f"{a}-{b}" + (f"/{chance.randint(1, 9)}" if chance.random() < 0.5 else "")
    return ",".join(str(chance.randint(low, high)) for _ in range(chance.randint(1, 4)))


def _same(now: datetime) -> datetime:
    return now


@pytest.mark.parametrize("seed", range(8))
def test_celery_says_the_same_of_a_thousand_crontabs(seed: int) -> None:
    celery = pytest.importorskip("celery")
    schedules = pytest.importorskip("celery.schedules")
    chance, theirs = random.Random(seed), celery.Celery("peer", set_as_current=False)
    compared = 0
    for _ in range(1000):
        spec: list[Any] = [field(chance, *span) for span in ((0, 59), (0, 23), (0, 6), (1, 31), (1, 12))]
        last = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(86400 * 366 * 4))
        now = last + timedelta(seconds=chance.randrange(86400 * 40) * chance.random() ** 4)
        try:
            peer = schedules.crontab(*spec, nowfun=partial(_same, now), app=theirs)
            expected = peer.remaining_estimate(last), tuple(peer.is_due(last))
        except ValueError:
            with pytest.raises(ScheduleError):
                crontab(*spec)
            continue
        except RuntimeError:  # it gives up looking for a February 29th on that day of the week
            continue
        ours = crontab(*spec)
        ours.nowfun = partial(_same, now)
        assert (ours.remaining_estimate(last), tuple(ours.is_due(last))) == expected, (spec, last, now)
        assert repr(ours) == repr(peer)
        compared += 1
    assert compared > 950


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"day_of_week": "mon-fri"}, {1, 2, 3, 4, 5}),
        ({"day_of_week": "sat-mon"}, {6, 0, 1}),
        ({"day_of_week": "Sunday,wed"}, {0, 3}),
        ({"day_of_week": [0, 6]}, {0, 6}),
        ({"month_of_year": "feb,nov-jan"}, {2, 11, 12, 1}),
        ({"minute": "50-10/7"}, {50, 57, 4}),
        ({"minute": {1, 2}}, {1, 2}),
        ({"hour": 7}, {7}),
        ({"hour": None}, set(range(24))),
    ],
)
def test_a_field_is_a_number_numbers_or_text_with_words(spec: dict[str, Any], expected: set[int]) -> None:
    ((name, value),) = spec.items()
    assert getattr(crontab(**{name: value}), name) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: crontab(minute=60),
        lambda: crontab(hour="24"),
        lambda: crontab(day_of_month=0),
        lambda: crontab(month_of_year="13"),
        lambda: crontab(day_of_week="7"),
        lambda: crontab(minute=""),
        lambda: crontab(minute="1,,2"),
        lambda: crontab(minute="*/0"),
        lambda: crontab(minute="*/"),
        lambda: crontab(minute="5/10"),
        lambda: crontab(minute="mon"),
        lambda: crontab(minute="-5"),
        lambda: crontab(minute=[]),
        lambda: crontab(day_of_month=30, month_of_year=2),
        lambda: crontab.from_string("* * * *"),
    ],
)
def test_what_is_no_crontab_is_refused_with_what_would_be_one(make: Callable[[], crontab]) -> None:
    with pytest.raises(ScheduleError, match="crontab: ") as caught:
        make()
    assert caught.value.fix


def test_a_date_that_is_rare_is_found() -> None:
    found = crontab(0, 0, day_of_week=1, day_of_month=29, month_of_year=2)
    assert found.next_after(datetime(2024, 3, 1, tzinfo=UTC)) == datetime(2044, 2, 29, tzinfo=UTC)


def test_crons_own_notation_and_copies() -> None:
    found = crontab.from_string("30 7 1-7 */2 mon")
    assert found == crontab(30, 7, "mon", "1-7", "*/2")
    assert pickle.loads(pickle.dumps(found)) == found
    assert found != crontab(31, 7, "mon", "1-7", "*/2")


def test_without_utc_and_timezone_it_is_this_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_worker_beat import zones

    monkeypatch.setenv("TZ", "America/New_York")
    zones._local.cache_clear()
    try:
        assert crontab(app=App("local", enable_utc=False)).tz == ZoneInfo("America/New_York")
        assert crontab(app=App("utc")).tz == UTC
    finally:
        monkeypatch.undo()
        zones._local.cache_clear()
