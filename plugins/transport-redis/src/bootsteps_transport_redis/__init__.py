"""A kombu transport for Redis that shares its queues with kombu's own, and settles and reserves in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_transport_redis.sentinel import SentinelTransport
    from bootsteps_transport_redis.transport import SSLTransport, Transport

__all__ = ["SSLTransport", "SentinelTransport", "Transport"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the entry point costs neither kombu nor redis.
    if name in ("Transport", "SSLTransport"):
        from bootsteps_transport_redis import transport

        return getattr(transport, name)
    if name == "SentinelTransport":
        from bootsteps_transport_redis.sentinel import SentinelTransport

        return SentinelTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
