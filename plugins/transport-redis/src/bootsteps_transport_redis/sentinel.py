# mypy: disable-error-code="no-untyped-call,misc"
"""The same transport, whose server is the master that Redis Sentinel names."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis

from bootsteps_transport_redis.channel import Channel
from bootsteps_transport_redis.transport import Transport

__all__ = ["SentinelTransport"]


class SentinelChannel(Channel):
    """A channel on the present master."""

    from_transport_options: Any = (
        *Channel.from_transport_options,
        "master_name",
        "min_other_sentinels",
        "sentinel_kwargs",
    )
    connection_class: Any = kombu_redis.SentinelChannel.connection_class
    connection_class_ssl: Any = kombu_redis.SentinelChannel.connection_class_ssl
    _sentinel_managed_pool = kombu_redis.SentinelChannel._sentinel_managed_pool

    def _get_pool(self, asynchronous: bool = False) -> Any:
        params = self._connparams()
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=params["db"])
        return self._sentinel_managed_pool()


class SentinelTransport(Transport):
    """A connection to a master. URL: `sentinel://host:26379;sentinel://host2:26379/0`; option `master_name`."""

    Channel: Any = SentinelChannel
    default_port = 26379
