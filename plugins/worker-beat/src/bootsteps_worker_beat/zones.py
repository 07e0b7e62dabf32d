"""From the clock on the wall to moments, also where the clock is put forward or back."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

__all__ = ["change_between", "instant", "last_instant", "zone"]

#: Clocks are put forward and back at whole seconds.
SECOND = timedelta(seconds=1)


def zone(app: Any) -> tzinfo:
    """Return the zone of an application's crontabs: `timezone`, else UTC, else without `enable_utc` this machine's."""
    if app is None:
        return UTC
    from bootsteps_tasks.sender import zone_of

    if app.conf["timezone"] or app.conf["enable_utc"]:
        return zone_of(app.conf)
    return _local() or zone_of(app.conf)


@cache
def _local() -> tzinfo | None:
    """Return this machine's zone with its rules, of which `datetime.astimezone` knows the present one only."""
    from zoneinfo import ZoneInfo

    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with open("/etc/localtime", "rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return None


def instant(wall: datetime, tz: tzinfo) -> datetime | None:
    """Return the moment (UTC) at which the clocks of a zone show this, the first of two; None when they skip it."""
    moment = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    return moment if moment.astimezone(tz).replace(tzinfo=None, fold=0) == wall else None


def last_instant(wall: datetime, tz: tzinfo) -> datetime | None:
    """Return the last moment at which the clocks show this; None when they skip it."""
    return None if instant(wall, tz) is None else wall.replace(tzinfo=tz, fold=1).astimezone(UTC)


def change_between(start: datetime, end: datetime, tz: tzinfo) -> datetime | None:
    """Return the moment (UTC) between these two when the zone's offset changes; None when both have the same."""
    before = start.astimezone(tz).utcoffset()
    if before == end.astimezone(tz).utcoffset():
        return None
    low, high = start.astimezone(UTC), end.astimezone(UTC)
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        low, high = (middle, high) if middle.astimezone(tz).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)
