"""A kombu transport for Redis that shares its queues with kombu's own, and settles and reserves in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_transport_redis.sentinel import SentinelTransport
    from bootsteps_transport_redis.transport import Transport

__all__ = ["SentinelTransport", "Transport"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the entry point costs neither kombu nor redis.
    if name == "Transport":
        from bootsteps_transport_redis.transport import Transport

        return Transport
    if name == "SentinelTransport":
        from bootsteps_transport_redis.sentinel import SentinelTransport

        return SentinelTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
