"""Schedules by the sun."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bootsteps.errors import MissingRequirement, did_you_mean
from bootsteps_worker_beat.errors import ScheduleError
from bootsteps_worker_beat.schedules import BaseSchedule, aware

__all__ = ["solar"]


class _Event(NamedTuple):
    method: str
    #: Degrees of the horizon, and for those below it: of the sun's centre, not its edge.
    horizon: str
    center: bool


EVENTS = {
    "dawn_astronomical": _Event("next_rising", "-18", True),
    "dawn_nautical": _Event("next_rising", "-12", True),
    "dawn_civil": _Event("next_rising", "-6", True),
    "sunrise": _Event("next_rising", "-0:34", False),
    "solar_noon": _Event("next_transit", "0", False),
    "sunset": _Event("next_setting", "-0:34", False),
    "dusk_civil": _Event("next_setting", "-6", True),
    "dusk_nautical": _Event("next_setting", "-12", True),
    "dusk_astronomical": _Event("next_setting", "-18", True),
}
#: Where an event does not come every day, the search ends after so many days.
DAYS = 366


class solar(BaseSchedule):
    """At an event of the sun's day (`sunrise`, `solar_noon`, `dusk_civil`, ...) at a latitude and longitude (degrees).

    Needs `ephem`: pip install bootsteps-worker-beat[solar]. Raises `ScheduleError`, `MissingRequirement` without it.
    """

    def __init__(
        self, event: str, lat: float, lon: float, nowfun: Callable[[], datetime] | None = None, app: Any = None
    ) -> None:
        super().__init__(nowfun, app)
        if event not in EVENTS:
            near = did_you_mean(event, EVENTS) or f"one of {', '.join(EVENTS)}"
            raise ScheduleError(f"solar: there is no event {event!r}", (), near)
        if not -90 <= lat <= 90 or not -180 <= lon <= 180:
            what = f"solar: {lat!r}, {lon!r} is no latitude and longitude"
            raise ScheduleError(what, (), "degrees from -90 to 90, and from -180 to 180")
        self.event, self.lat, self.lon = event, lat, lon
        self._ephem = _ephem()

    def next_after(self, moment: datetime) -> datetime:
        """Return when it is due for the first time after a moment."""
        kind, place = EVENTS[self.event], self._ephem.Observer()
        place.lat, place.lon, place.elev, place.pressure = str(self.lat), str(self.lon), 0, 0
        place.horizon = kind.horizon
        sun, start = self._ephem.Sun(), self._ephem.Date(aware(moment).astimezone(UTC).replace(tzinfo=None))
        options = {"use_center": True} if kind.center else {}
        for _ in range(DAYS):
            try:
                start = getattr(place, kind.method)(sun, start=start, **options)
                break
            except self._ephem.CircumpolarError:  # not on this day
                start = place.next_antitransit(sun, start=start)
        found: datetime = start.datetime().replace(tzinfo=UTC)
        return found

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.event, self.lat, self.lon)


def _ephem() -> Any:
    try:
        import ephem
    except ImportError as exc:
        what = "solar schedules need ephem, which is not installed"
        raise MissingRequirement(what, ("bootsteps-worker-beat",), "pip install bootsteps-worker-beat[solar]") from exc
    return ephem
