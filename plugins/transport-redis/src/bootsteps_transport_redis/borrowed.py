# mypy: disable-error-code="no-untyped-call,misc"
"""Connections of redis-py's, for what ours cannot do: TLS, Sentinel, providers of credentials.

redis-py is imported here and nowhere else: it takes a fifth of a worker's start, and 7 MiB of each of its processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from kombu.transport import redis as kombu_redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from bootsteps_transport_redis.connection import Wire
from bootsteps_transport_redis.errors import ConnectionLost, NoScript, RedisError, Refused, ServerSilent
from bootsteps_transport_redis.wire import Command, pack

__all__ = ["connector"]

#: Ours for each of theirs; the first that fits.
OURS: tuple[tuple[type[Exception], type[RedisError]], ...] = (
    (exceptions.TimeoutError, ServerSilent),
    (exceptions.ConnectionError, ConnectionLost),
    (exceptions.NoScriptError, NoScript),
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

    def readable(self) -> bool:
        """Tell whether something has come."""
        with translated():
            return bool(self._connection.can_read(timeout=0))

    def limit(self, seconds: float) -> None:
        """From now on wait no longer than this."""
        self._connection.socket_timeout = self._connection.socket_connect_timeout = seconds
        if self._connection._sock is not None:
            self._connection._sock.settimeout(seconds)

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()


def connector(channel: Any) -> Callable[..., Wire]:
    """Return what makes a connection for a channel of ours; it takes the number of a protocol."""
    pool = (_AtSentinels if hasattr(channel, "master_name") else _Parameters)(channel)._get_pool()
    return partial(_connection, pool.connection_class, pool.connection_kwargs)


def _connection(kind: Any, parameters: dict[str, Any], protocol: int = 2) -> Borrowed:
    # Without redis-py's handling of maintenance: it wants one of its pools, and its own parser.
    further = {name: value for name, value in parameters.items() if not name.startswith("maint_notifications")}
    return Borrowed(kind(**{**further, "protocol": protocol}))


class _Parameters(kombu_redis.Channel):
    """kombu's channel as far as it knows how redis-py connects. It never does."""

    def __init__(self, channel: Any) -> None:
        self.connection = channel.connection
        self._sentinel_manager = self._async_sentinel_manager = None
        for name in self.from_transport_options:
            if hasattr(channel, name):
                setattr(self, name, getattr(channel, name))

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous=False)
        params.pop("retry_on_timeout", None)
        # An operation that failed may have been done: who called knows whether to try again.
        params["retry"] = Retry(NoBackoff(), 0)
        params["health_check_interval"] = 0
        return params


class _AtSentinels(_Parameters):
    from_transport_options: Any = kombu_redis.SentinelChannel.from_transport_options
    connection_class: Any = kombu_redis.SentinelChannel.connection_class
    connection_class_ssl: Any = kombu_redis.SentinelChannel.connection_class_ssl
    _sentinel_managed_pool = kombu_redis.SentinelChannel._sentinel_managed_pool

    def _get_pool(self, asynchronous: bool = False) -> Any:
        return self._sentinel_managed_pool()
