# mypy: disable-error-code="misc, no-untyped-call"
# kombu has no types.
"""A way to the workers: one connection with its channel, used by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kombu import Exchange, Producer

__all__ = ["Line", "Lines"]

#: Connections that are kept while nobody uses them.
IDLE_MOST = 4


class Line:
    """Publishes commands. `channel` is made anew unless it is given."""

    def __init__(self, connection: Any, channel: Any = None) -> None:
        self.connection = connection
        self.channel = connection.channel() if channel is None else channel
        self._lent = channel is not None
        #: What the broken connection raises.
        self.losses: tuple[type[Exception], ...] = (
            *(OSError,), *connection.connection_errors, *connection.channel_errors,
        )  # fmt: skip

    def declare(self, exchange: Exchange) -> None:
        """Declare an exchange: a round trip, which finds out whether the connection is alive."""
        exchange(self.channel).declare()

    def publish(
        self, message: Mapping[str, Any], exchange: Exchange, headers: Mapping[str, Any], serializer: str
    ) -> Any:
        """Publish a command; return how many heard it, None where the broker does not say.

        RabbitMQ says only when it was nobody, and is asked for that when there is a `reply_to`.
        """
        producer = Producer(self.channel, auto_declare=False)
        how = {"exchange": exchange.name, "headers": dict(headers), "serializer": serializer}
        events = getattr(self.channel, "events", None)
        if events is None or not message.get("reply_to"):
            producer.publish(dict(message), **how)
            return getattr(self.channel, "heard_by", None)
        returned: list[Any] = []
        note = _noting(returned)
        events["basic_return"].add(note)
        try:
            producer.publish(dict(message), mandatory=True, **how)
            self.declare(exchange)  # a round trip: what was returned is here before its answer
        finally:
            events["basic_return"].discard(note)
        return 0 if returned else None

    def bound(self, exchange: Exchange) -> list[str] | None:
        """Return the names of the queues that are bound to an exchange, None where the broker does not say."""
        get_table = getattr(self.channel, "get_table", None)
        return None if get_table is None else [entry[-1] for entry in get_table(exchange.name)]

    def release(self) -> None:
        """Close the channel on somebody else's connection."""
        if not self._lent:
            self.channel.close()

    def close(self) -> None:
        """Close the connection, without waiting for a peer that may be gone."""
        with suppress(Exception):
            self.connection.collect()


def _noting(returned: list[Any]) -> Callable[..., object]:
    return lambda *returns: returned.append(returns)


class Lines:
    """The connections of one process. Safe from any thread."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._idle: list[Line] = []
        self._lock = threading.Lock()

    def take(self) -> tuple[Line, bool]:
        """Return a line, and whether it is a new one. Raises kombu's `OperationalError`."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        connection = self._connect()
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        return Line(connection), True

    def give_back(self, line: Line) -> None:
        """Keep a line that is in order for the next one."""
        with self._lock:
            if len(self._idle) < IDLE_MOST:
                self._idle.append(line)
                return
        line.close()

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()
