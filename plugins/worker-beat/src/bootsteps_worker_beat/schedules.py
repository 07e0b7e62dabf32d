"""Schedules: when something is due next, after it was last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from bootsteps_worker_beat import clock
from bootsteps_worker_beat.errors import ScheduleError
from bootsteps_worker_beat.zones import zone

__all__ = ["BaseSchedule", "maybe_schedule", "schedstate", "schedule"]

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class schedstate(NamedTuple):
    """What `is_due` returns."""

    is_due: bool
    #: Seconds until it should be asked again.
    next: float


class BaseSchedule:
    """Base of all schedules. One of your own defines `remaining_estimate`, or `is_due`, as in Celery."""

    #: After a clock was put back, runs up to so far ahead are not repeated; beyond it, the new time counts.
    ahead_most = timedelta(hours=3)

    def __init__(self, nowfun: Callable[[], datetime] | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        #: Whose time zone counts; None = UTC.
        self.app = app

    @property
    def tz(self) -> tzinfo:
        return zone(self.app)

    def now(self) -> datetime:
        """Return the present moment in the application's zone; a naive one of `nowfun` is UTC."""
        return (aware(self.nowfun()) if self.nowfun else clock.moment()).astimezone(self.tz)

    def next_after(self, moment: datetime) -> datetime:
        """Return when it is due for the first time after a moment."""
        return self.now() + self.remaining_estimate(moment)

    def due_at(self, last_run_at: datetime, now: datetime) -> datetime:
        """Return when it is due, seen from now, after it was due last; in the past if that was missed."""
        if type(self).is_due is not BaseSchedule.is_due:
            due, seconds = self.is_due(last_run_at)
            return now if due else now + timedelta(seconds=seconds)
        return self.next_after(last_run_at)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time from now until it is due; negative when it should have been."""
        return self.next_after(aware(last_run_at)) - self.now()

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Tell whether it is due, and after how many seconds to ask again."""
        now = self.now()
        left = (self.due_at(aware(last_run_at), now) - now).total_seconds()
        if left > 0:
            return schedstate(False, left)
        return schedstate(True, max(0.0, (self.next_after(now) - now).total_seconds()))

    def anchor(self, due: datetime, now: datetime) -> datetime:
        """Return what is noted as the last run, when one that was due is sent now."""
        return now

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and repr(other) == repr(self)

    def __hash__(self) -> int:
        return hash(repr(self))


class schedule(BaseSchedule):
    """Every so many seconds, or every `timedelta`.

    With `relative` at whole days, hours, minutes or seconds of the clock, whatever the interval is a multiple of.
    """

    ahead_most = timedelta()

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun, app)
        every = run_every if isinstance(run_every, timedelta) else timedelta(seconds=float(run_every or 0))
        if every <= timedelta():
            raise ScheduleError(f"an interval is above 0 seconds, not {run_every!r}", (), "schedule(10.0)")
        self.run_every = every
        self.relative = relative

    @property
    def seconds(self) -> float:
        return self.run_every.total_seconds()

    def next_after(self, moment: datetime) -> datetime:
        end = aware(moment).astimezone(UTC) + self.run_every
        return self._rounded(aware(moment), end) if self.relative else end

    def _rounded(self, start: datetime, end: datetime) -> datetime:
        tz = self.tz
        if self.run_every >= DAY:
            day = (start.astimezone(tz).replace(tzinfo=None) + self.run_every).replace(hour=0, minute=0)
            return day.replace(second=0, microsecond=0, tzinfo=tz).astimezone(UTC)
        unit = HOUR if self.run_every >= HOUR else MINUTE if self.run_every >= MINUTE else timedelta(seconds=1)
        local = end.astimezone(tz)
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond) % unit
        return end - past if end - past > start else end - past + unit

    def anchor(self, due: datetime, now: datetime) -> datetime:
        """Without drift: from when it was due, unless so many were missed that the next is due by now."""
        return due if due <= now < due + self.run_every else now

    def __repr__(self) -> str:
        return f"<freq: {self.seconds:g} seconds{', relative' if self.relative else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative, self.nowfun)


def maybe_schedule(given: Any, relative: bool = False, app: Any = None) -> BaseSchedule:
    """Return the schedule that a number of seconds, a timedelta or a schedule means. Raises `ScheduleError`."""
    if isinstance(given, int | float | timedelta) and not isinstance(given, bool):
        return schedule(given, relative, app=app)
    if not (hasattr(given, "is_due") and hasattr(given, "remaining_estimate")):
        raise ScheduleError(
            f"{given!r} is no schedule", (), "a number of seconds, a timedelta, crontab(...) or solar(...)"
        )
    if app is not None:
        given.app = app
    found: BaseSchedule = given
    return found


def aware(moment: datetime) -> datetime:
    """Return the moment with its zone; a naive one is UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
