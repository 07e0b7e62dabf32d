"""A kombu transport for RabbitMQ: py-amqp's, with messages read, settled and published in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_transport_amqp.transport import SSLTransport, Transport

__all__ = ["SSLTransport", "Transport"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the entry point costs neither kombu nor py-amqp.
    if name in __all__:
        from bootsteps_transport_amqp import transport

        return getattr(transport, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
