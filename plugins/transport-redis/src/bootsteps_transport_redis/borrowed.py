# mypy: disable-error-code="no-untyped-call,misc"
"""How redis-py reaches what kombu's connection names, where ours cannot: TLS, Sentinel, providers of credentials."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kombu.transport import redis as kombu_redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bootsteps_redis_wire.borrowed import Borrowed
from bootsteps_redis_wire.connection import Wire

__all__ = ["connector"]


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
