"""Connections beside that of the tasks: for remote control, for events. They break and come back on their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bootsteps import Hub, Timer, TimerEntry
from bootsteps_consumer.heartbeat import keep
from bootsteps_consumer.lane import Lane
from bootsteps_consumer.reach import Reach, connected

__all__ = ["SideConnection"]

#: Seconds before the next attempt to connect: doubling, up to the last.
PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
#: Seconds between two looks for messages where the transport cannot wake the loop.
LOOK_EVERY_S = 0.2
#: How often, between two heartbeats, they are sent and sought.
HEARTBEAT_RATE = 2.0


class SideConnection:
    """A connection that is made anew when it breaks; the tasks do not notice. Loop thread only.

    `connect()` returns a `kombu.Connection`, connected or not. `begin(connection)` is called with each new one and may
    consume: what comes is handled in the loop. What either of them or a consumer's callback raises counts as a break.
    `end()` is called whenever a connection is given up, and must not raise. One that only publishes does not have to
    listen. `purpose` stands in the log. `heartbeat_s` is asked of a broker whose protocol has heartbeats; 0 for a loop
    that may stand still.
    """

    def __init__(
        self,
        hub: Hub,
        timer: Timer,
        log: logging.Logger,
        purpose: str,
        connect: Callable[[], Any],
        begin: Callable[[Any], object],
        end: Callable[[], object] = lambda: None,
        listens: bool = True,
        heartbeat_s: float = 0.0,
    ) -> None:
        self._hub = hub
        self._timer = timer
        self._log = log
        self._purpose = purpose
        self._connect: Callable[[], Any] = lambda: _connected(connect(), heartbeat_s)
        self._begin = begin
        self._end = end
        self._listens = listens
        self._connection: Any = None
        self._lane: Lane | None = None
        self._again: TimerEntry | None = None
        self._reach = Reach(hub, self._connect)
        self._attempts = 0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection now."""
        return self._connection is not None

    def open(self) -> None:
        """Connect; a broker that is away is tried again later."""
        self._closed = False
        try:
            self._connection = self._connect()
            self._begin(self._connection)
            self._lane = self._listen(self._connection) if self._listens else None
        except Exception as exc:
            self.fail(exc)
        else:
            self._attempts = 0

    def _listen(self, connection: Any) -> Lane:
        lane = Lane(self._hub, self.fail)
        if connection.transport.implements.asynchronous:
            connection.register_with_event_loop(lane)
            keep(connection, lane, HEARTBEAT_RATE)
        else:
            lane.call_repeatedly(LOOK_EVERY_S, self._look)
        return lane

    def _look(self) -> None:
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=0)

    def fail(self, exc: Exception) -> None:
        """Drop the connection, and try again after a pause; nothing happens while that is already under way."""
        if self._again is not None or self._closed:
            return
        pause = PAUSES[min(self._attempts, len(PAUSES) - 1)]
        level = logging.DEBUG if self._attempts else logging.WARNING
        self._log.log(level, "the connection for %s broke: %s; trying again in %.1f s", self._purpose, exc, pause)
        self._attempts += 1
        self._drop()
        self._again = self._timer.call_after(pause, self._reach.ask, (self._reached,))

    def _reached(self, error: Exception | None) -> None:
        self._again = None
        if error is None:
            self.open()
        else:
            self.fail(error)

    def close(self) -> None:
        """Close without waiting for a peer that may be gone."""
        self._closed = True
        self._reach.forget()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._drop()

    def _drop(self) -> None:
        if self._lane is not None:
            self._lane.undo()
            self._lane = None
        connection, self._connection = self._connection, None
        if connection is not None:
            self._end()
            with suppress(Exception):  # it may be broken
                connection.collect()


def _connected(connection: Any, heartbeat_s: float) -> Any:
    if not connection.connected:
        connection.heartbeat = heartbeat_s
    return connected(connection)
