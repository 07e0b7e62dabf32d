"""The beats: `worker-online`, `worker-heartbeat` and `worker-offline` (wire reference 13.3)."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from bootsteps import Timer, TimerEntry, __version__
from bootsteps_consumer_events import Dispatcher

__all__ = ["Heart", "software"]


@cache
def software() -> Mapping[str, Any]:
    """Return what runs here, under Celery's names."""
    return {"sw_ident": "py-bootsteps", "sw_ver": __version__, "sw_sys": platform.system()}


def load_average() -> list[float]:
    """Return the machine's load over 1, 5 and 15 minutes; zeros where it cannot be known."""
    with suppress(OSError, AttributeError):
        return [round(load, 2) for load in os.getloadavg()]
    return [0.0, 0.0, 0.0]


class Heart:
    """Beats as long as the dispatcher is enabled. Loop thread only."""

    def __init__(
        self,
        timer: Timer,
        eventer: Dispatcher,
        interval: float = 2.0,
        work: Callable[[], tuple[int, int]] = lambda: (0, 0),
        announce: Callable[[Heart], object] = lambda heart: None,
    ) -> None:
        """`interval` is in seconds; `work()` returns how many tasks run now, and how many were taken on in all."""
        self.timer = timer
        self.eventer = eventer
        self.interval = float(interval)
        self.tref: TimerEntry | None = None
        self._work = work
        self._announce = announce

    def start(self) -> None:
        """Tell that the worker is there, and go on telling it."""
        self.rest()
        self.eventer.on_enabled.add(self.start)
        self.eventer.on_disabled.add(self.stop)
        if self.eventer.enabled:
            self._send("worker-online")
            self.tref = self.timer.call_repeatedly(self.interval, self._send, ("worker-heartbeat",))

    def stop(self) -> None:
        """Tell that the worker is going."""
        self.rest()
        if self.eventer.enabled:
            self._send("worker-offline")

    def rest(self) -> None:
        """Beat no more, and tell nobody."""
        if self.tref is not None:
            self.tref.cancel()
            self.tref = None

    def forget(self) -> None:
        """Follow the dispatcher no more."""
        self.eventer.on_enabled.discard(self.start)
        self.eventer.on_disabled.discard(self.stop)

    def beat(self, freq: float) -> None:
        """Send one beat now that says when to expect the next: `freq` seconds from now. Somebody asked for it."""
        self.eventer.wake()
        self._send("worker-heartbeat", freq)

    def _send(self, type: str, freq: float | None = None) -> None:
        active, processed = self._work()
        self.eventer.send(
            type,
            freq=self.interval if freq is None else freq,
            active=active,
            processed=processed,
            loadavg=load_average(),
            **software(),
        )
        self._announce(self)
