# mypy: disable-error-code="no-untyped-call"
"""The part of the transport that has connections and a lease, and does what must be done from time to time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from bootsteps_transport_redis.keys import Keys
from bootsteps_transport_redis.lease import Keeper, Lease
from bootsteps_transport_redis.link import Link
from bootsteps_transport_redis.listening import Listener
from bootsteps_transport_redis.scripts import SETTLE
from bootsteps_transport_redis.sweeping import Sweeper
from bootsteps_transport_redis.waking import Waker

if TYPE_CHECKING:
    from bootsteps_redis_wire.connection import Wire
    from bootsteps_transport_redis.channel import Channel

__all__ = ["LEASE_S", "Keeping"]

#: Seconds after which others take what a worker held that died, unless the options say otherwise.
LEASE_S = 30.0


class Keeping:
    """Connections are made when the first channel is, or when they are first needed."""

    client: Any
    channels: list[Channel]
    #: Seconds between two looks where the server cannot wake us.
    POLL_S = 0.05

    if TYPE_CHECKING:  # the rest of the transport

        def _look_everywhere(self) -> None: ...

    def __init__(self) -> None:
        self.pid = 0
        self.next_beat = 0.0
        self.link: Link
        self.lease: Lease
        self.waker: Waker
        self.listener: Listener
        self.visibility_s = 3600.0
        self.lease_s = LEASE_S
        #: Seconds to wait for each answer while all is closed; None = as ever.
        self.closing_s: float | None = None
        #: Makes a connection that connects when it is told to; None while there is no channel.
        self._connect: Callable[..., Wire] | None = None
        self._sweeper: Sweeper
        self._listeners: dict[bytes, list[tuple[Channel, str]]] = {}
        self._keeper: Keeper | None = None
        self._healthy: Callable[[], bool] = lambda: True

    def open(self, channel: Channel) -> Link:
        """Return the connection for commands; the first channel knows how to make it."""
        if self._connect is not None and self.pid == os.getpid():
            return self.link
        self.pid = os.getpid()
        self._connect = channel.connector()
        patience_s = channel.socket_timeout or 5.0
        self.visibility_s = float(channel.visibility_timeout)
        self.lease_s = float((self.client.transport_options or {}).get("lease", LEASE_S))
        prefix = channel.global_keyprefix
        keys = Keys(prefix, prefix + channel.unacked_key, prefix + channel.unacked_index_key)
        link = Link(self._connect)
        try:
            link.ping()
        except BaseException:
            self._connect = None
            link.close()
            raise
        self.link, self._keys = link, keys
        # Who only calls `drain_events` now and then may be busy with a message for as long as kombu allows.
        self.lease = Lease(link, keys, self.visibility_s, self.visibility_s)
        self.waker = Waker(partial(self._connect, protocol=3), patience_s)
        self.listener = Listener(self._connect, patience_s)
        self._sweeper = Sweeper(link, self.visibility_s)
        return link

    def hurry(self) -> None:
        """Wait no longer for each answer than whoever closes wants to."""
        if self.closing_s is not None and self._connect is not None:
            self.link.hurry(self.closing_s)

    def hang_up(self) -> None:
        """Give up the lease and close all connections."""
        if self._connect is None:
            return
        keeper, self._keeper = self._keeper, None
        self.hurry()
        try:
            if os.getpid() == self.pid:
                if keeper is not None:
                    keeper.stop(0.0 if self.link.silent else 1.0)
                if not self.link.silent:
                    self.lease.end()
        finally:
            self.lease.holder = ""
            for connection in (self.link, self.waker, self.listener):
                connection.close()
            self._connect = None
            self._listeners.clear()

    def keep_lease(self, healthy: Callable[[], bool] | None = None, in_thread: bool = False) -> None:
        """Say how the lease is to be renewed, once there is a connection.

        Only while `healthy()`: a worker that makes no progress should lose what it holds. `in_thread`: by a thread, for
        a loop that runs tasks itself; not for who forks.
        """
        self._healthy = healthy or self._healthy
        if in_thread and self._keeper is None:
            assert self._connect is not None, "there is a connection"
            self.lease.seconds = min(self.lease_s, self.visibility_s)
            self._keeper = Keeper(Link(self._connect), self.lease, self._healthy, max(min(self.lease_s / 3, 5.0), 0.1))

    def bring_back(self, channel: Channel) -> int:
        """Put what dead holders had back into its queues, for one that does not consume; return how many messages."""
        return self._sweeper.sweep(channel, 1.0)

    def beat_when_due(self) -> None:
        """Renew the lease, bring back what nobody holds, and see whether the server still hears us."""
        now = monotonic()
        if self._connect is None or now < self.next_beat:
            return
        beat_s = self.lease.beat_s
        self.next_beat = now + beat_s
        if self._healthy():
            self.lease.renew()
        consuming = [channel for channel in self.channels if channel.consumed()]
        if any(self._sweeper.sweep(channel, beat_s) for channel in consuming[:1]):
            for channel in consuming:
                channel.maybe_ready = True
        for channel in consuming:
            channel.refresh_expiring(channel.consumed())
        self.waker.check()
        self.listener.check()

    def send_settled(self, tags: Sequence[str]) -> None:
        """Acknowledge."""
        self.link.script(SETTLE, [self._keys.unacked, self._keys.index, self.lease.held], tags)

    def disarm(self) -> None:
        """Other keys have to be watched from now on."""
        self.waker.disarm()

    # -- fanout

    def listen(self, pattern: str, channel: Channel, queue: str) -> None:
        """Deliver what is published under a pattern to a queue of a channel."""
        listeners = self._listeners.setdefault(pattern.encode(), [])
        if not listeners:
            self.listener.subscribe(pattern)
            self.listening_began()
        listeners.append((channel, queue))

    def unlisten(self, pattern: str, channel: Channel, queue: str) -> None:
        """The reverse of `listen`."""
        listeners = self._listeners.get(pattern.encode(), [])
        if (channel, queue) in listeners:
            listeners.remove((channel, queue))
        if not listeners and self._listeners.pop(pattern.encode(), None) is not None:
            self.listener.unsubscribe(pattern)

    def listening_began(self) -> None:
        """There may be a new descriptor to look at."""

    def _hear_published(self) -> bool:
        """Deliver what was published; say whether there was anything."""
        heard = False
        for pattern, data in self.listener.hear():
            for channel, queue in list(self._listeners.get(pattern, ())):
                channel.deliver_published(queue, data)
                heard = True
        return heard

    def _hear_waker(self) -> None:
        if self.waker.blind or (self.waker.fileno() is not None and self.waker.hear()):
            self._look_everywhere()

    def _arm(self) -> None:
        """Have the server wake us where we know that there is nothing."""
        if self.waker.armed:
            return
        keys = [key for channel in self.channels if not channel.maybe_ready for key in channel.watched()]
        if keys:
            self.waker.arm(keys)
