"""The kombu transport: connects channels to the broker file, blocking or on kombu's event loop."""

from __future__ import annotations

import math
import os
import select
import sqlite3
import weakref
from array import array
from time import monotonic, time
from typing import Any

from kombu.transport import virtual

from bootsteps_transport_batches.turns import Turns
from bootsteps_transport_sqlite.broker import Broker
from bootsteps_transport_sqlite.channel import Channel as BrokerChannel
from bootsteps_transport_sqlite.errors import UnusableBroker
from bootsteps_transport_sqlite.place import place_of
from bootsteps_transport_sqlite.store import Store

__all__ = ["Transport"]

#: Seconds between two looks for dead processes, and for wake-ups whose sender died before it sent them.
REAP_EVERY_S = 1.0
#: Seconds that an acknowledgement may wait for others to be committed with.
FLUSH_AFTER_S = 0.010


class Transport(Turns, virtual.Transport):
    """A connection to the broker file. URL: `sqlite:////absolute/broker.db` or `sqlite:///relative.db`.

    Transport options (or the URL's query): `synchronous` ("normal", "full"), `busy_timeout` (seconds, 10).
    """

    Channel: Any = BrokerChannel
    can_parse_url = True
    driver_type = "sqlite"
    driver_name = "sqlite3"
    connection_errors: Any = (*virtual.Transport.connection_errors, sqlite3.OperationalError, OSError)
    implements = virtual.Transport.implements.extend(
        asynchronous=True,
        batch_publish=True,
        exchange_type=frozenset(["direct", "topic", "fanout"]),
    )

    channels: list[BrokerChannel]
    client: Any

    def __init__(self, client: Any, **kwargs: Any) -> None:
        Turns.__init__(self)
        self.client = client
        self.channels = []
        self._used_channel_ids = array("H")
        self._broker: Broker | None = None
        self._hub: Any = None
        self._hub_pid = 0
        self._hub_fd = -1
        self._timers: dict[str, Any] = {}  # of the loop, by purpose: "reap", "flush", "due"
        self._due_at: float | None = None  # what the timer "due" waits for
        self._reaped_at = 0.0
        self._eager = False  # the next turn reserves even where little of the window is free
        self._generation = 0
        self._ended: Any = None

    # -- connect

    @property
    def broker(self) -> Broker:
        """The broker file; opened when first used."""
        if self._broker is None:
            place, query = place_of(self.client.hostname)
            options = {**query, **(self.client.transport_options or {})}
            self._broker = Broker(
                Store(
                    place,
                    synchronous=str(options.get("synchronous", "normal")).lower(),
                    busy_s=_seconds(options.get("busy_timeout", 10.0)),
                )
            )
            # Also when a connection is dropped without closing it, and when the interpreter exits.
            self._ended = weakref.finalize(self, self._broker.drop)
        return self._broker

    def establish_connection(self) -> Transport:
        """Open the file, so that what is wrong with it is said now."""
        self.broker.topology()
        return self

    def create_channel(self, connection: Any) -> BrokerChannel:
        """Return a new channel."""
        made: BrokerChannel = self.Channel(self)
        self.channels.append(made)
        return made

    def close_channel(self, channel: BrokerChannel) -> None:
        """Forget a channel."""
        if channel in self.channels:
            self.channels.remove(channel)
            self._used_channel_ids.remove(channel.channel_id)
        channel.connection = None

    def close_connection(self, connection: Any) -> None:
        """Close the channels, give everything back, and close the file."""
        self.unregister_from_event_loop(connection, self._hub)
        while self.channels:
            self.channels[-1].close()
        if self._ended is not None and self._ended.detach() and self._broker is not None:
            self._broker.close()
        self._broker = None

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return the URL: it holds no password."""
        return uri

    def driver_version(self) -> str:
        """Return the version of the SQLite library."""
        return sqlite3.sqlite_version

    # -- blocking

    def drain_events(  # type: ignore[override]  # kombu passes nothing but timeout
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Deliver one message; raises `socket.timeout` after `timeout` seconds without one."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._flush_overdue()
            if self._deliver_one():
                return
            self._reap_when_due()
            if self._reserve(eager=True):
                continue
            self._wait(deadline)

    def _wait(self, deadline: float | None) -> None:
        self.broker.flush()
        now = monotonic()
        if deadline is not None and now >= deadline:
            self._look_everywhere()  # a call with timeout 0 must find what was published in the meantime
            if not (self._reserve(eager=True) or self._buffered()):
                raise TimeoutError
            return
        pause = self._reaped_at + REAP_EVERY_S - now
        if deadline is not None:
            pause = min(pause, deadline - now)
        if self.broker.next_due is not None:
            pause = min(pause, self.broker.next_due - time())
        owner = self.broker.owner
        if readable(owner.fileno(), max(pause, 0.0)):
            owner.drain()
            self._look_everywhere()

    # -- on the event loop: events and timers leave word, and `_on_tick`, which the loop calls just before it
    # sleeps, does the work. So an error or a consumer's exception leaves the loop; from a timer it would not.

    def register_with_event_loop(self, connection: Any, hub: Any) -> None:
        """Deliver on kombu's loop: woken by publishers, settled at the end of a turn."""
        self.unregister_from_event_loop(connection, self._hub)
        self._hub, self._hub_pid, self._hub_fd = hub, os.getpid(), self.broker.owner.fileno()
        hub.add_reader(self._hub_fd, self._on_wake)
        hub.on_tick.add(self._on_tick)
        self._timers = {"reap": hub.call_repeatedly(REAP_EVERY_S, self._on_time_to_reap)}
        self.wake_soon()

    def unregister_from_event_loop(self, connection: Any, hub: Any) -> None:
        """Leave the loop."""
        hub, self._hub = self._hub, None
        timers, self._timers = self._timers, {}
        if hub is None or self._hub_pid != os.getpid():
            return  # a forked child shares the parent's epoll set: what it removes there, the parent loses
        hub.remove_reader(self._hub_fd)
        hub.on_tick.discard(self._on_tick)
        for timer in timers.values():
            timer.cancel()

    def _on_wake(self) -> None:
        self.broker.owner.drain()
        self._look_everywhere()
        self._eager = True

    def _on_time_to_reap(self) -> None:
        self._reaped_at = 0.0

    def _on_time_to_flush(self) -> None:
        del self._timers["flush"]
        self._eager = True

    def _on_tick(self) -> None:
        self._in_tick = True  # too late to shorten the sleep by a timer
        try:
            self._take_turn()
        finally:
            self._in_tick = False

    def _take_turn(self) -> None:
        """Deliver what is there, one reservation at most, so that others have their turn too."""
        self._reap_when_due()
        eager, self._eager = self._eager, False
        if not self._buffered():
            self._reserve(eager)
        delivered = False
        while self._deliver_one():
            delivered = True
        if delivered:
            self._hand_on()
        if self._hub is None:
            return  # a consumer closed the connection
        if self.broker.settled_since and "flush" not in self._timers:
            self.broker.flush()
        self._watch_delayed()
        if self._buffered() or self._wants():
            self.broker.owner.poke()

    def _watch_delayed(self) -> None:
        """Keep a timer for the next delayed message that falls due."""
        due = self.broker.next_due
        if due == self._due_at:
            return
        self._due_at = due
        if "due" in self._timers:
            self._timers.pop("due").cancel()
        if due is not None:
            self._timers["due"] = self._hub.call_later(max(due - time(), 0.0) + 0.001, self._on_time_to_reap)
            self.broker.owner.poke()  # the sleep was measured without this timer

    # -- both

    def wake_soon(self) -> None:
        """Have the loop take a turn."""
        if self._hub is not None:
            self.broker.owner.poke()

    def flush_soon(self) -> None:
        """Have the loop commit acknowledgements within `FLUSH_AFTER_S`; nothing when blocking."""
        if self._hub is not None and not self._in_tick and "flush" not in self._timers:
            self._timers["flush"] = self._hub.call_later(FLUSH_AFTER_S, self._on_time_to_flush)

    def _flush_overdue(self) -> None:
        broker = self.broker
        if broker.settled_since and monotonic() - broker.settled_since >= FLUSH_AFTER_S:
            broker.flush()

    def _reap_when_due(self) -> None:
        """Free what the dead held, show what is due; look for what nobody announced."""
        broker, now = self.broker, monotonic()
        due = broker.next_due is not None and broker.next_due <= time()
        if now - self._reaped_at < REAP_EVERY_S and not due:
            return
        self._reaped_at = now
        if broker.is_lost():
            where = broker.store.place.database
            raise ConnectionResetError(f"the broker file {where} or our lock was removed or replaced")
        broker.reap()
        generation = broker.topology().generation
        if generation != self._generation:
            self._generation = generation
            for channel in self.channels:
                channel.rejoin()
        self._look_everywhere()
        self._eager = True


def readable(fd: int, timeout_s: float) -> bool:
    """Sleep until a descriptor is readable; False when the time is over."""
    poll = select.poll()  # select() refuses descriptors above 1023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(math.ceil(timeout_s * 1000)))


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UnusableBroker(f"transport option busy_timeout={value!r} is no number", "seconds, such as 10") from None
