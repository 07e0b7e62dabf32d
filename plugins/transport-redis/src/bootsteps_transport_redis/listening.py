"""Fanout: what is published while we listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

from bootsteps_redis_wire.connection import Wire
from bootsteps_redis_wire.errors import ConnectionLost

__all__ = ["Listener"]


class Listener:
    """Subscribes to patterns, on a connection of its own that is made for the first one."""

    def __init__(self, connect: Callable[[], Wire], patience_s: float) -> None:
        self._connect = connect
        self._patience_s = patience_s
        self._connection: Wire | None = None
        self._asked_at: float | None = None

    def fileno(self) -> int | None:
        """Return what becomes readable when there is something to hear."""
        connection = self._connection
        return None if connection is None or connection.socket is None else int(connection.socket.fileno())

    def subscribe(self, pattern: str) -> None:
        """Listen; when this returns, nothing published from then on is missed."""
        if self._connection is None:
            connection = self._connect()
            connection.connect()
            self._connection = connection
        self._connection.send(("PSUBSCRIBE", pattern))

    def unsubscribe(self, pattern: str) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.send(("PUNSUBSCRIBE", pattern))

    def hear(self) -> Iterator[tuple[bytes, bytes]]:
        """Return (pattern, what was published) of all that has come."""
        while self._connection is not None and self._connection.readable():
            answer = self._connection.receive()
            self._asked_at = None
            if isinstance(answer, list) and answer and answer[0] == b"pmessage":
                yield answer[1], answer[3]

    def check(self) -> None:
        """Ask whether the server still hears us. Raises `ConnectionError` when it has not answered for too long."""
        if self._connection is None:
            return
        if self._asked_at is None:
            self._asked_at = monotonic()
            self._connection.send(("PING",))
        elif monotonic() - self._asked_at > self._patience_s:
            raise ConnectionLost(f"no answer on the listening connection for {self._patience_s:g} s")

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._asked_at = self._connection, None, None
        if connection is not None:
            connection.close()
