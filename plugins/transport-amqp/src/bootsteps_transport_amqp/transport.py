# mypy: disable-error-code="no-untyped-call,misc"
"""The kombu transport: py-amqp's, which reads, settles and writes in batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kombu.transport import pyamqp

from bootsteps_transport_amqp.connection import FLUSH_AFTER_S
from bootsteps_transport_amqp.connection import Connection as AmqpConnection

__all__ = ["SSLTransport", "Transport"]

#: Messages that are delivered before it is asked whether that is enough.
DELIVERED_MOST = 64
#: What has come is delivered after so long, also to who has enough.
REST_S = 0.02


class Named(type):
    """kombu writes a transport that is given as a class into its URLs as such, also into those that are logged."""

    driver_type: str

    def __str__(cls) -> str:
        return cls.driver_type


class Transport(pyamqp.Transport, metaclass=Named):
    """A connection to RabbitMQ. URL: `amqp://`, as kombu's; transport options: py-amqp's."""

    client: Any
    Connection: Any = AmqpConnection
    supports_batch_publish = True
    implements = pyamqp.Transport.implements.extend(batch_publish=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop: Turn | None = None
        #: Called on a loop when all that had come was delivered.
        self.after_delivery: list[Callable[[], object]] = []
        #: Asked on a loop before something is delivered: whether those for whom it is have enough for a moment.
        self.have_enough: Callable[[], bool] = never

    def register_with_event_loop(self, connection: AmqpConnection, loop: Any) -> None:
        """Deliver on kombu's loop, and write once for each of its turns."""
        self.unregister_from_event_loop(connection, loop)
        self._loop = Turn(connection, loop, self.after_delivery, lambda: self.have_enough())

    def unregister_from_event_loop(self, connection: AmqpConnection, loop: Any) -> None:
        """Leave the loop."""
        turn, self._loop = self._loop, None
        if turn is not None:
            turn.end()

    def close_connection(self, connection: AmqpConnection) -> None:
        """Write what waits, and close."""
        self.unregister_from_event_loop(connection, None)
        super().close_connection(connection)

    def _collect(self, connection: AmqpConnection | None) -> None:
        turn, self._loop = self._loop, None
        if turn is not None:
            turn.leave(last_words=True)
        super()._collect(connection)


class SSLTransport(Transport):
    """The same over TLS: `amqps://`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.client.ssl:
            self.client.ssl = True


def never() -> bool:
    """Nobody has enough."""
    return False


class Turn:
    """What a connection does in each turn of a loop: delivers what came, then writes what is to be sent.

    What nobody needs yet stays as the bytes that came, which are a fifth of the memory.
    """

    def __init__(
        self, connection: AmqpConnection, hub: Any, after_delivery: Sequence[Callable[[], object]],
        have_enough: Callable[[], bool] = never,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._after_delivery = after_delivery
        self._have_enough = have_enough
        self._hub = hub
        #: Ends the rest, while nothing is delivered.
        self._resting: Any = None
        #: Something was delivered since that was set.
        self._went_on = False
        #: It was not, for so long that all is delivered now.
        self._overdue = False
        self._pid = os.getpid()
        self._fd = connection.sock.fileno()
        self._timer: Any = None
        self._in_tick = False
        connection.collect_frames(self._wake_later)
        hub.add_reader(connection.sock, self._on_readable)
        hub.on_tick.add(self._on_tick)
        if connection.has_unread:
            self._wake_soon()

    def end(self) -> None:
        """Leave the loop; what waits is written."""
        self.leave()
        if self._pid == os.getpid() and self._connection.connected:
            self._connection.stop_collecting()

    def leave(self, last_words: bool = False) -> None:
        """Leave the loop; with `last_words` what waits is written as far as that takes no time."""
        if self._pid != os.getpid():
            return  # a forked child shares the parent's epoll set: what it removes there, the parent loses
        if last_words and self._connection.connected:
            with suppress(Exception):  # the broker may be gone
                self._connection.sock.settimeout(0.0)
                self._connection.flush()
        self._hub.on_tick.discard(self._on_tick)
        transport = self._connection._transport
        if transport is not None and transport.sock is not None:
            self._hub.remove_reader(self._fd)  # closed, its number may be somebody else's
        for timer in (self._timer, self._resting):
            if timer is not None:
                timer.cancel()

    def _on_readable(self) -> None:
        connection = self._connection
        if not connection.receive():
            return
        self._deliver()
        while connection.ssl and connection.connected and connection.receive():
            self._deliver()  # the poller does not see what TLS has read ahead

    def _deliver(self) -> bool:
        """Deliver some of what was received, then let those go on for whom it was; False if that was nothing."""
        if not self._overdue and self._have_enough():
            self._rest()
            return False
        self._went_on = True
        delivered = self._connection.dispatch(DELIVERED_MOST)
        if delivered:
            for call in self._after_delivery:
                call()
        return delivered

    def _rest(self) -> None:
        """Wait until there is not enough; and not for long, for the broker may have said something else, too."""
        if self._resting is None:
            self._went_on = False
            self._resting = self._hub.call_later(REST_S, self._end_rest)

    def _end_rest(self) -> None:
        """Leave the rest to the tick of this turn: what the broker's word raises in a timer's call is lost there."""
        self._resting, self._overdue = None, not self._went_on

    def _on_tick(self) -> None:
        """Deliver what an answer that was waited for left unread, and write."""
        connection = self._connection
        while connection.has_unread and connection.connected and self._deliver():
            self._wake_soon()  # for others, who may have had their turn
        self._overdue = False
        if connection.connected:
            connection.flush(eager=False)

    def _wake_later(self) -> None:
        """See to it that there is a turn soon: the tick of this one may be over."""
        if self._timer is None:
            self._timer = self._hub.call_later(FLUSH_AFTER_S, self._woken)

    def _woken(self) -> None:
        self._timer = None

    def _wake_soon(self) -> None:
        self._hub.call_soon(lambda: None)
