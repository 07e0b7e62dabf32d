"""Channels that are listened to, kept between one wait and the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from time import monotonic
from typing import Any

from bootsteps_redis_wire import Command, ServerSilent, Wire

__all__ = ["CHUNK", "Subscription", "Subscriptions", "chunks"]

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

    def __init__(self, connection: Wire, timeout_s: float) -> None:
        """The server takes `timeout_s` seconds for an answer at most."""
        self._connection = connection
        self._timeout_s = timeout_s
        #: Channels of which nothing can be missed: what they said before is known to who watches.
        self.watched: set[str] = set()
        #: No longer watched, and not told to the server yet.
        self._left: list[str] = []
        self._arrived: list[tuple[str, bytes]] = []
        self.used_at = monotonic()

    def watch(self, channels: set[str]) -> set[str]:
        """Listen to these and no others. Returns those that are new; the server confirmed them."""
        new = channels - self.watched
        self.unwatch(self.watched - channels)
        left = self._leave()
        if left and not new:
            self._connection.send(*left)
        for chunk in chunks(new):
            self._connection.send(*left, ("SUBSCRIBE", *chunk))
            left, confirmed = [], 0
            while confirmed < len(chunk):
                confirmed += self._take() == b"subscribe"
        self.watched |= new
        return new

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
        if not self._arrived:
            if not self._connection.readable(min(timeout, PING_AFTER_S)):
                if timeout >= PING_AFTER_S:
                    self._ping()
                return ()
            self._take()
        while len(self._arrived) < len(self.watched) and self._connection.readable(0):
            self._take()
        found, self._arrived = self._arrived, []
        return [value for channel, value in found if channel in self.watched]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _take(self) -> Any:
        """Read one answer. Returns its kind."""
        kind, *rest = self._connection.receive()
        if kind == b"message":
            self._arrived.append((rest[0].decode(), rest[1]))
        return kind

    def _ping(self) -> None:
        self._connection.send(("PING",))
        if not self._connection.readable(self._timeout_s):
            raise ServerSilent("no answer to PING")


class Subscriptions:
    """Lends subscriptions to threads, each to the one that left it with its channels. Safe from any thread."""

    def __init__(self, connect: Callable[[], Wire], timeout_s: float) -> None:
        self._connect, self._timeout_s = connect, timeout_s
        self._lock = Lock()
        self._idle: list[Subscription] = []

    @contextmanager
    def lend(self, channels: set[str]) -> Iterator[Subscription]:
        """Lend one for these channels. After an error its connection is closed."""
        subscription = self._find(channels) or Subscription(self._connect(), self._timeout_s)
        try:
            yield subscription
        except BaseException:
            subscription.close()
            raise
        self._keep(subscription)

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
