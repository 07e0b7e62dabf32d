"""A worker as its events tell of it."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Mapping
from typing import Any

__all__ = ["EXPIRE_WINDOW", "Worker"]

#: A worker counts as gone when its next beat is late by this many percent of the time between two (Celery's number).
EXPIRE_WINDOW = 200
#: How many beats are remembered.
BEATS = 4
#: Seconds between two beats of a worker that does not say.
FREQ_S = 60.0


class Worker:
    """What is known of one worker; every field that an event brings is an attribute."""

    expire_window = EXPIRE_WINDOW

    def __init__(
        self,
        hostname: str,
        pid: int | None = None,
        freq: float = FREQ_S,
        heartbeats: list[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: Any = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        #: Seconds between two beats.
        self.freq = freq
        #: When the last ones came, by this process's clock, in seconds since the epoch.
        self.heartbeats = [] if heartbeats is None else heartbeats
        self.clock = clock
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def event(
        self, type_: str, timestamp: float | None = None, local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Take an event `worker-<type_>` into account."""
        self.update(fields or {})
        if type_ == "offline":
            self.heartbeats.clear()
        elif local_received and timestamp:
            insort(self.heartbeats, local_received)
            del self.heartbeats[:-BEATS]

    def update(self, fields: Mapping[str, Any], **further: Any) -> None:
        """Set attributes; what is made of others is left alone."""
        for name, value in {**fields, **further}.items():
            if not hasattr(type(self), name):
                setattr(self, name, value)

    @property
    def heartbeat_expires(self) -> float:
        """Until when it counts as alive, in seconds since the epoch."""
        return self.heartbeats[-1] + float(self.freq) * self.expire_window / 100

    @property
    def alive(self) -> bool:
        """Its next beat is not overdue."""
        return bool(self.heartbeats) and time.time() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Worker) and other.hostname == self.hostname

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"
