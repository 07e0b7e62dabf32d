# mypy: disable-error-code="no-untyped-call"
"""The kombu transport: connects channels to Redis, blocking or on kombu's event loop."""

from __future__ import annotations

import math
import os
import select
from array import array
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from kombu.transport import virtual

from bootsteps_redis_wire.errors import ConnectionLost, Refused
from bootsteps_transport_redis.channel import Channel as RedisChannel
from bootsteps_transport_redis.keeping import Keeping
from bootsteps_transport_redis.looping import Looping

__all__ = ["SSLTransport", "Transport"]

#: Seconds to wait for an answer of a server that may be gone, when a connection is given up.
COLLECT_S = 1.0


class Named(type):
    """kombu writes a transport that is given as a class into its URLs as such, also into those that are logged."""

    driver_type: str

    def __str__(cls) -> str:
        return cls.driver_type


class Transport(Looping, Keeping, virtual.Transport, metaclass=Named):
    """A connection to Redis. URL: `redis://`, `rediss://`, `redis+socket://`, as kombu's.

    Transport options: kombu's, and `lease` (seconds, 30), `priority_weights` (part of a batch by priority step).
    """

    Channel: Any = RedisChannel
    default_port: Any = 6379
    driver_type = "redis"
    driver_name = "redis"
    supports_batch_publish = True
    # Not kombu's KeyError among them: a bug is no lost connection.
    connection_errors: Any = (
        *virtual.Transport.connection_errors,
        OSError,
        ConnectionLost,
    )
    channel_errors: Any = (*virtual.Transport.channel_errors, Refused)
    implements = virtual.Transport.implements.extend(
        asynchronous=True,
        batch_publish=True,
        exchange_type=frozenset(["direct", "topic", "fanout"]),
    )

    channels: list[RedisChannel]
    client: Any

    def __init__(self, client: Any, **kwargs: Any) -> None:
        if client.ssl is True:
            client.ssl = {"ssl_cert_reqs": "required"}  # kombu takes a mapping, and speaks in the clear otherwise
        self.client = client
        self.state = virtual.base.BrokerState()
        self.channels = []
        self._avail_channels: list[RedisChannel] = []
        self._used_channel_ids = array("H")
        self._settled: deque[str] = deque()
        self._deferred: list[Any] = []
        #: Binding tables as they were when they were last read; and (exchange, queue) of what was bound here for good.
        self.known: dict[str, list[tuple[str, ...]]] = {}
        self.bound: set[tuple[str, str]] = set()
        Keeping.__init__(self)
        Looping.__init__(self)

    # -- connect

    def establish_connection(self) -> Transport:
        """Connect now, so that what is wrong is said now."""
        self._avail_channels.append(self.create_channel(self))
        return self

    def create_channel(self, connection: Any) -> RedisChannel:
        """Return a new channel."""
        if self._avail_channels:
            return self._avail_channels.pop()
        made: RedisChannel = self.Channel(self)
        self.channels.append(made)
        return made

    def close_channel(self, channel: RedisChannel) -> None:
        """Forget a channel."""
        if channel in self.channels:
            self.channels.remove(channel)
            self._used_channel_ids.remove(channel.channel_id)
        channel.connection = None

    def close_connection(self, connection: Any) -> None:
        """Close the channels, give everything back, and close the connections."""
        self.unregister_from_event_loop(connection, None)
        self._avail_channels.clear()
        try:
            while self.channels:
                self.channels[-1].close()
        finally:
            self.hang_up()

    def _collect(self, connection: Any) -> None:
        # kombu's name for closing fast: the server may be gone.
        self.closing_s = COLLECT_S
        if connection is not None:
            with suppress(*self.connection_errors):
                self.close_connection(connection)

    def driver_version(self) -> str:
        """Return the version of redis-py."""
        from importlib.metadata import version

        return version("redis")

    # -- blocking

    def drain_events(  # type: ignore[override]  # kombu passes nothing but timeout
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Deliver one message; raises `socket.timeout` after `timeout` seconds without one."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._flush_overdue()
            if self._hear_published() or self._deliver_one():
                return
            self.beat_when_due()
            if not self._reserve(eager=True):
                self._wait(deadline)

    def _wait(self, deadline: float | None) -> None:
        self.flush()
        now = monotonic()
        if deadline is not None and now >= deadline:
            self._look_everywhere()  # a call with timeout 0 must find what was published in the meantime
            if not self._reserve(eager=True):
                raise TimeoutError
            return
        self._arm()
        pauses = [self.next_beat - now]
        if deadline is not None:
            pauses.append(deadline - now)
        if self.waker.blind:
            pauses.append(self.POLL_S)
        if self._sleep(max(min(pauses), 0.0)) or self.waker.blind:
            self._hear_waker()

    def _sleep(self, seconds: float) -> bool:
        """Sleep until the server has something for us; False when the time is over."""
        poll = select.poll()  # select() refuses descriptors above 1023
        for fd in (self.waker.fileno(), self.listener.fileno()):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        return bool(poll.poll(math.ceil(seconds * 1000)))

    # -- both

    def settle(self, tags: Sequence[str]) -> None:
        """Have deliveries acknowledged, with the next call at the latest by `flush`. Any thread."""
        self._settled.extend(tags)
        self.note_settled()

    def defer(self, delivery: Sequence[Any]) -> None:
        """Have a delivery wait: its tag, its new tag, its score."""
        self._deferred.extend(delivery)
        self.flush_soon()

    def settled(self) -> list[str]:
        """Take, once, the tags to acknowledge: for a script that does it on the way."""
        waiting = self._settled
        return [waiting.popleft() for _ in range(min(len(waiting), 3000))]

    def flush(self) -> None:
        """Tell the server what is settled and what waits."""
        self.settled_since = None
        if not self.channels or os.getpid() != self.pid:
            return
        while tags := self.settled():
            self.send_settled(tags)
        if self._deferred:
            deferred, self._deferred = self._deferred, []
            self.channels[0].send_deferred(deferred)

    def _deliver_all(self) -> bool:
        delivered = False
        for channel in list(self.channels):
            while channel.deliver_one():
                delivered = True
        return delivered


class SSLTransport(Transport):
    """The same over TLS: `rediss://`. The server's certificate is checked, unless the options say otherwise.

    kombu turns TLS on by the scheme alone only for a transport of its own.
    """

    def __init__(self, client: Any, **kwargs: Any) -> None:
        client.ssl = client.ssl or True
        super().__init__(client, **kwargs)
