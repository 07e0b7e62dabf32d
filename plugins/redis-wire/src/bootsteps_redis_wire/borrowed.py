# mypy: disable-error-code="no-untyped-call"
"""Connections of redis-py's, for what ours cannot do: TLS, Sentinel, providers of credentials.

redis-py is imported here: it takes a fifth of a worker's start, and 7 MiB of each of its processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions

from bootsteps_redis_wire.errors import (
    ConnectionLost,
    NoScript,
    NotAdmitted,
    ReadOnly,
    RedisError,
    Refused,
    ServerSilent,
)
from bootsteps_redis_wire.wire import Command, pack

__all__ = ["Borrowed"]

#: Ours for each of theirs; the first that fits.
OURS: tuple[tuple[type[Exception], type[RedisError]], ...] = (
    (exceptions.TimeoutError, ServerSilent),
    (exceptions.AuthenticationError, NotAdmitted),
    (exceptions.AuthorizationError, NotAdmitted),
    (exceptions.ConnectionError, ConnectionLost),
    (exceptions.NoScriptError, NoScript),
    (exceptions.ReadOnlyError, ReadOnly),
    (exceptions.ResponseError, Refused),
    (exceptions.RedisError, ConnectionLost),
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors instead of redis-py's."""
    try:
        yield
    except exceptions.RedisError as exc:
        raise _ours(exc) from exc


def _ours(exc: Exception) -> RedisError:
    return next(ours for theirs, ours in OURS if isinstance(exc, theirs))(str(exc))


class Borrowed:
    """Implements `Wire` by one of redis-py's connections."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def socket(self) -> Any:
        """The socket, which is encrypted perhaps."""
        return self._connection._sock

    def connect(self) -> None:
        """Connect, say who we are, choose the database."""
        with translated():
            self._connection.connect()

    def send(self, *commands: Command) -> None:
        """Send commands in one write."""
        with translated():
            self._connection.send_packed_command([pack(commands)], check_health=False)

    def receive(self) -> Any:
        """Wait for the next answer."""
        with translated():
            answer = self._connection.read_response()
        return [_ours(a) if isinstance(a, Exception) else a for a in answer] if isinstance(answer, list) else answer

    def readable(self, timeout: float = 0.0) -> bool:
        """Tell whether something has come, or comes within so many seconds."""
        with translated():
            return bool(self._connection.can_read(timeout=timeout))

    def limit(self, seconds: float) -> None:
        """From now on wait no longer than this."""
        self._connection.socket_timeout = self._connection.socket_connect_timeout = seconds
        if self._connection._sock is not None:
            self._connection._sock.settimeout(seconds)

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()
