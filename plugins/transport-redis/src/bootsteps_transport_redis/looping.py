# mypy: disable-error-code="no-untyped-call"
"""The part of the transport that lives on kombu's event loop.

Events and timers leave word, and `_on_tick`, which the loop calls just before it sleeps, does the work. So an error or
a consumer's exception leaves the loop; from a timer it would not.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any

from bootsteps_transport_batches.turns import Turns

if TYPE_CHECKING:
    from bootsteps_transport_redis.lease import Lease
    from bootsteps_transport_redis.listening import Listener
    from bootsteps_transport_redis.waking import Waker

__all__ = ["FLUSH_AFTER_S", "Looping"]

#: Seconds that an acknowledgement may wait for others to be sent with.
FLUSH_AFTER_S = 0.010


class Looping(Turns):
    """Woken by the server, settled at the end of a turn."""

    waker: Waker
    listener: Listener
    lease: Lease
    lease_s: float
    visibility_s: float
    POLL_S: float
    next_beat: float

    if TYPE_CHECKING:  # the rest of the transport

        def beat_when_due(self) -> None: ...

        def flush(self) -> None: ...

        def _arm(self) -> None: ...

        def _deliver_all(self) -> bool: ...

        def _hear_published(self) -> bool: ...

        def _hear_waker(self) -> None: ...

    def __init__(self) -> None:
        super().__init__()
        self._hub: Any = None
        self._hub_pid = 0
        self._readers: dict[int, Any] = {}
        self._timers: dict[str, Any] = {}
        self._bell: tuple[int, int] | None = None
        self._rung = False
        self._eager = False  # the next turn reserves even where little of the window is free
        #: When the oldest acknowledgement was made that the server does not know of; None if it knows all.
        self.settled_since: float | None = None

    def register_with_event_loop(self, connection: Any, hub: Any) -> None:
        """Deliver on kombu's loop. From now on the lease is short, as the loop renews it."""
        self.unregister_from_event_loop(connection, self._hub)
        self._hub, self._hub_pid = hub, os.getpid()
        self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.lease.seconds = min(self.lease_s, self.visibility_s)
        self.next_beat = 0.0
        hub.add_reader(self._bell[0], self._on_bell)
        hub.on_tick.add(self._on_tick)
        self._timers = {"beat": hub.call_repeatedly(self.lease.beat_s, self.wake_soon)}
        self._read_from_all()
        self.wake_soon()

    def unregister_from_event_loop(self, connection: Any, hub: Any) -> None:
        """Leave the loop."""
        hub, self._hub = self._hub, None
        timers, self._timers = self._timers, {}
        bell, self._bell = self._bell, None
        readers, self._readers = self._readers, {}
        if hub is not None and self._hub_pid == os.getpid():
            # A forked child shares the parent's epoll set: what it removes there, the parent loses.
            hub.on_tick.discard(self._on_tick)
            for fd in (*readers, *(bell or ())[:1]):
                hub.remove_reader(fd)
            for timer in timers.values():
                timer.cancel()
        for fd in bell or ():
            os.close(fd)

    def listening_began(self) -> None:
        """There may be a new descriptor to look at."""
        self._read_from_all()

    def _read_from_all(self) -> None:
        """Look at the descriptors that there are now."""
        if self._hub is None:
            return
        wanted = {self.waker.fileno(): self._on_wake, self.listener.fileno(): self._on_published}
        for fd, callback in wanted.items():
            if fd is not None and self._readers.get(fd) != callback:
                self._readers[fd] = callback
                self._hub.add_reader(fd, callback)

    def _on_bell(self) -> None:
        if self._bell is not None:
            os.read(self._bell[0], 4096)
        self._rung = False

    def _on_wake(self) -> None:
        self._hear_waker()
        self._eager = True

    def _on_published(self) -> None:
        self._hear_published()

    def _on_time_to_flush(self) -> None:
        self._timers.pop("flush", None)
        self._eager = True

    def _on_time_to_look(self) -> None:
        self._timers.pop("look", None)
        self._look_everywhere()
        self._eager = True

    def _on_tick(self) -> None:
        self._in_tick = True  # too late to shorten the sleep by a timer
        try:
            self._take_turn()
        finally:
            self._in_tick = False

    def _take_turn(self) -> None:
        """Deliver what is there, one reservation at most, so that others have their turn too."""
        self.beat_when_due()
        eager, self._eager = self._eager, False
        if not self._buffered():
            self._reserve(eager)
        delivered = self._deliver_all()
        if delivered:
            self._hand_on()
        if self._hub is None:
            return  # a consumer closed the connection
        if self.settled_since is not None and (eager or "flush" not in self._timers):
            self.flush()
        self._arm()
        self._read_from_all()
        if self.waker.blind and "look" not in self._timers:
            self._timers["look"] = self._hub.call_later(self.POLL_S, self._on_time_to_look)
        if self._buffered() or self._wants() or (delivered and not self.after_delivery):
            self.wake_soon()  # others may have had their turn before us, and what we delivered is for them

    def wake_soon(self) -> None:
        """Have the loop take a turn."""
        if self._hub is not None and self._bell is not None and not self._rung:
            self._rung = True
            os.write(self._bell[1], b"\0")

    def note_settled(self) -> None:
        """Remember since when something waits to be sent."""
        if self.settled_since is None:
            self.settled_since = monotonic()

    def flush_soon(self) -> None:
        """Have the loop send acknowledgements within `FLUSH_AFTER_S`; nothing when blocking."""
        self.note_settled()
        if self._hub is not None and not self._in_tick and "flush" not in self._timers:
            self._timers["flush"] = self._hub.call_later(FLUSH_AFTER_S, self._on_time_to_flush)

    def _flush_overdue(self) -> None:
        if self.settled_since is not None and monotonic() - self.settled_since >= FLUSH_AFTER_S:
            self.flush()
