"""Channels that are listened to, kept between one wait and the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from time import monotonic
from typing import Any

from bootsteps_redis_wire import Command, Connection, NotAdmitted, Push, ServerSilent, Wire

__all__ = ["CHUNK", "Subscription", "Subscriptions", "chunks"]

Read = Callable[[Sequence[str]], list[bytes | None]]

#: Channels or keys in one command: more would keep the server from its other clients.
CHUNK = 2_000
#: Channels that nobody watches, of which the server is told with the next word to it at the latest.
LEFT = 100
#: Seconds of silence after which the server is asked whether it is still there.
PING_AFTER_S = 10.0
#: Subscriptions kept for the next wait, and the seconds after which they are not.
KEPT, KEPT_S = 4, 60.0


def chunks(items: Iterable[str]) -> Iterator[list[str]]:
    """Part what one command should not hold."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


class Subscription:
    """One connection that listens. One thread at a time. After an error it is closed, not repaired."""

    def __init__(self, connection: Wire, timeout_s: float, read: Read | None) -> None:
        """The server takes `timeout_s` seconds for an answer at most.

        `read(keys)` returns what they hold, by another connection: None if this one speaks RESP3 and can be asked, too.
        """
        self._connection = connection
        self._timeout_s = timeout_s
        self._read = read
        #: Channels of which nothing can be missed: what they said before is known to who watches.
        self.watched: set[str] = set()
        #: No longer watched, and not told to the server yet.
        self._left: list[str] = []
        self._arrived: list[tuple[str, bytes]] = []
        self.used_at = monotonic()

    def watch(self, channels: set[str]) -> list[bytes]:
        """Listen to these and no others. Returns what the keys of those that are new hold; what comes then is heard."""
        new = channels - self.watched
        self.unwatch(self.watched - channels)
        left = self._leave()
        if left and not new:
            self._connection.send(*left)
        values: list[bytes | None] = []
        for chunk in chunks(new):
            values += self._subscribe(left, chunk)
            left = []
        self.watched |= new
        return [value for value in values if value is not None]

    def _subscribe(self, left: Sequence[Command], names: list[str]) -> Sequence[bytes | None]:
        """Have the server confirm that it will tell of these, and return what their keys hold after that."""
        look = [("MGET", *names)] if self._read is None else []
        self._connection.send(*left, ("SUBSCRIBE", *names), *look)
        confirmed = 0
        while confirmed < len(names):
            confirmed += self._take() == b"subscribe"
        if self._read is not None:
            return self._read(names)
        while not isinstance(values := self._take(), list):
            pass  # messages
        return values

    def unwatch(self, channels: Iterable[str]) -> None:
        """Listen to these no more. Of a few the server is told later: who has a result shall not wait for that."""
        gone = list(channels)
        self._left += gone
        self.watched.difference_update(gone)
        if len(self._left) > LEFT:
            self._connection.send(*self._leave())

    def _leave(self) -> list[Command]:
        """Return the commands that tell the server what is not listened to any more."""
        left, self._left = self._left, []
        return [("UNSUBSCRIBE", *chunk) for chunk in chunks(left)]

    def receive(self, timeout: float) -> Sequence[bytes]:
        """Return the messages of watched channels that came, in their order.

        Waits for the first; empty after `timeout` seconds, or when something else came. Raises
        `ConnectionLost`.
        """
        if not self._arrived and not self._connection.readable(min(timeout, PING_AFTER_S)):
            if timeout >= PING_AFTER_S:
                self._ping()
            return ()
        while len(self._arrived) < len(self.watched) and self._connection.readable(0):
            self._take()
        found, self._arrived = self._arrived, []
        return [value for channel, value in found if channel in self.watched]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _take(self) -> Any:
        """Read one answer. Returns its kind if it is of a channel, else itself."""
        answer = self._connection.receive()
        if self._read is None and not isinstance(answer, Push):
            return answer
        kind, *rest = answer
        if kind == b"message":
            self._arrived.append((rest[0].decode(), rest[1]))
        return kind

    def _ping(self) -> None:
        self._connection.send(("PING",))
        if not self._connection.readable(self._timeout_s):
            raise ServerSilent("no answer to PING")


class Subscriptions:
    """Lends subscriptions to threads, each to the one that left it with its channels. Safe from any thread."""

    def __init__(self, make: Callable[[int], Wire], timeout_s: float, read: Read) -> None:
        """`make(protocol)` makes a connection, which may not be able to do more than RESP2."""
        self._make, self._timeout_s, self._read = make, timeout_s, read
        #: The number of the protocol that the server knows.
        self._protocol = 3
        self._lock = Lock()
        self._idle: list[Subscription] = []

    @contextmanager
    def lend(self, channels: set[str]) -> Iterator[Subscription]:
        """Lend one for these channels. After an error its connection is closed."""
        subscription = self._find(channels) or self._open()
        try:
            yield subscription
        except BaseException:
            subscription.close()
            raise
        self._keep(subscription)

    def _open(self) -> Subscription:
        """Connect, by RESP3 if the server lets us: then it is asked to listen and to look in one round trip."""
        made = self._make(self._protocol)
        try:
            made.connect()
        except NotAdmitted:
            if self._protocol == 2:
                raise
            self._protocol = 2  # it is older than 6; if that is not the reason, it says so again
            made = self._make(2)
            made.connect()
        asks = self._protocol == 3 and isinstance(made, Connection)
        return Subscription(made, self._timeout_s, None if asks else self._read)

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for subscription in idle:
            subscription.close()

    def _find(self, channels: set[str]) -> Subscription | None:
        with self._lock:
            if not self._idle:
                return None
            near = [found for found in self._idle if not found.watched.isdisjoint(channels)]
            found = near[0] if near else min(self._idle, key=lambda idle: len(idle.watched))
            self._idle.remove(found)
            return found

    def _keep(self, subscription: Subscription) -> None:
        subscription.used_at = now = monotonic()
        with self._lock:
            old = [found for found in self._idle if now - found.used_at > KEPT_S]
            kept = [found for found in self._idle if found not in old]
            self._idle = [subscription, *kept][:KEPT]
            dropped = [*old, *kept[KEPT - 1 :]]
        for one in dropped:
            one.close()
