"""Schedules as cron's: at minutes, hours, days and months of the clock on the wall."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from bootsteps_worker_beat.errors import ScheduleError
from bootsteps_worker_beat.schedules import BaseSchedule, aware
from bootsteps_worker_beat.spec import FIELDS, expand
from bootsteps_worker_beat.zones import change_between, instant, last_instant

__all__ = ["crontab"]

MINUTE = timedelta(minutes=1)
#: February 29th falls on a certain day of the week at least once in so many years.
YEARS = 41
Spec = int | str | Iterable[int] | None


class crontab(BaseSchedule):
    """At each minute that all five fields name: numbers, or text such as `*/15`, `8-18/2`, `mon-fri`, `1,15`.

    Where the clock is put forward, what falls into the skipped time is due once when that is over. Where it is put
    back, what falls into the repeated time is due once, at the first time; but with `hour="*"` it goes on as real time
    does. Raises `ScheduleError` for a date that never comes.
    """

    def __init__(
        self,
        minute: Spec = "*",
        hour: Spec = "*",
        day_of_week: Spec = "*",
        day_of_month: Spec = "*",
        month_of_year: Spec = "*",
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun, app)
        given = (minute, hour, day_of_week, day_of_month, month_of_year)
        self._given = tuple("*" if spec is None else spec for spec in given)
        sets = (expand(field, spec) for field, spec in zip(FIELDS.values(), self._given, strict=True))
        self.minute, self.hour, self.day_of_week, self.day_of_month, self.month_of_year = sets
        if not any(day <= monthrange(2024, month)[1] for month in self.month_of_year for day in self.day_of_month):
            what = f"crontab: day_of_month {day_of_month!r} never comes in month_of_year {month_of_year!r}"
            raise ScheduleError(what, (), "another day or month")
        self._minutes, self._hours = sorted(self.minute), sorted(self.hour)
        self._days = sorted(self.day_of_month)

    @classmethod
    def from_string(cls, crontab: str) -> crontab:
        """Read cron's notation: minute, hour, day of month, month, day of week."""
        words = crontab.split()
        if len(words) != 5:
            raise ScheduleError(f"crontab: {crontab!r} has not five fields", (), "'30 7 * * mon'")
        minute, hour, day_of_month, month_of_year, day_of_week = words
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    def due_at(self, last_run_at: datetime, now: datetime) -> datetime:
        """As for every schedule; a run that was missed longer ago than `beat_cron_starting_deadline` is no more due."""
        due = self.next_after(last_run_at)
        deadline = None if self.app is None else self.app.conf.get("beat_cron_starting_deadline")
        if due >= now or deadline is None:
            return due
        return self.next_after(now - timedelta(seconds=deadline, microseconds=1))

    def next_after(self, moment: datetime) -> datetime:
        """Return when it is due for the first time after a moment."""
        tz, after = self.tz, aware(moment).astimezone(UTC)
        wall = _minute_after(after.astimezone(tz))
        return self._next_elapsed(wall, after, tz) if len(self.hour) == 24 else self._next_on_the_wall(wall, after, tz)

    def _next_on_the_wall(self, wall: datetime, after: datetime, tz: tzinfo) -> datetime:
        # Before it, for what falls into a time that was skipped by the last minute of `after`.
        for found in self._walls(wall - timedelta(hours=4)):
            moment = instant(found, tz) or _end_of_gap(found, tz)
            if moment > after:
                return moment
        raise self._never()

    def _next_elapsed(self, wall: datetime, after: datetime, tz: tzinfo) -> datetime:
        for found in self._walls(wall):
            moments = [moment for moment in (instant(found, tz), last_instant(found, tz)) if moment and moment > after]
            if moments:
                return min([*moments, *self._repeated(after, min(moments), tz)])
        raise self._never()

    def _repeated(self, after: datetime, until: datetime, tz: tzinfo) -> Iterator[datetime]:
        """Yield what is due when the clock is put back in the meantime."""
        change = change_between(after, until, tz)
        if change is None:
            return
        local = change.astimezone(tz)
        wall = local.replace(tzinfo=None, fold=0)
        if wall.second or wall.microsecond:
            wall = _minute_after(local)
        found = next(self._walls(wall))
        moment = found.replace(tzinfo=tz, fold=local.fold).astimezone(UTC)
        if after < moment < until and moment.astimezone(tz).replace(tzinfo=None, fold=0) == found:
            yield moment

    def _walls(self, start: datetime) -> Iterator[datetime]:
        """Yield the minutes on the wall that match, from this one on."""
        for year in range(start.year, start.year + YEARS):
            for month in sorted(self.month_of_year):
                if (year, month) >= (start.year, start.month):
                    yield from self._in_month(year, month, start)

    def _in_month(self, year: int, month: int, start: datetime) -> Iterator[datetime]:
        first, length = monthrange(year, month)  # of the first day: Monday is 0
        for day in self._days:
            if day > length or (first + day) % 7 not in self.day_of_week:
                continue
            if (year, month, day) < (start.year, start.month, start.day):
                continue
            for hour in self._hours:
                for minute in self._minutes:
                    found = datetime(year, month, day, hour, minute)
                    if found >= start:
                        yield found

    def _never(self) -> ScheduleError:
        return ScheduleError(f"{self!r} is never due", (), "another day or month")

    def __repr__(self) -> str:
        minute, hour, day_of_week, day_of_month, month_of_year = self._given
        return f"<crontab: {minute} {hour} {day_of_month} {month_of_year} {day_of_week} (m/h/dM/MY/d)>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and all(getattr(self, name) == getattr(other, name) for name in FIELDS)

    __hash__ = BaseSchedule.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self._given, self.nowfun)


def _minute_after(local: datetime) -> datetime:
    """Return the first minute on the wall after a moment."""
    return local.replace(tzinfo=None, fold=0, second=0, microsecond=0) + MINUTE


def _end_of_gap(wall: datetime, tz: tzinfo) -> datetime:
    """Return the moment when the clock has been put forward over this."""
    late = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    early = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    return change_between(early, late, tz) or late
