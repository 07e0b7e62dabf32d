# mypy: disable-error-code="misc"
"""The same transport, whose server is the master that Redis Sentinel names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bootsteps_transport_redis.channel import Channel
from bootsteps_transport_redis.transport import Transport

if TYPE_CHECKING:
    from bootsteps_redis_wire.connection import Wire

__all__ = ["SentinelTransport"]


class SentinelChannel(Channel):
    """A channel on the present master."""

    master_name: Any = None
    min_other_sentinels: Any = 0
    sentinel_kwargs: Any = None
    from_transport_options: Any = (
        *Channel.from_transport_options,
        "master_name",
        "min_other_sentinels",
        "sentinel_kwargs",
    )

    def connector(self) -> Callable[..., Wire]:
        """Return what asks the sentinels, and connects."""
        return self._borrowed()


class SentinelTransport(Transport):
    """A connection to a master. URL: `sentinel://host:26379;sentinel://host2:26379/0`; option `master_name`."""

    Channel: Any = SentinelChannel
    default_port = 26379
