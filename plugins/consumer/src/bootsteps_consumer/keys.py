"""The services of the consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer.consumer import Consumer

__all__ = ["CONNECTION", "CONSUMER"]

#: Lent in the worker by the step `Consumer`.
CONSUMER: ServiceKey[Consumer] = ServiceKey("consumer")
#: The present `kombu.Connection`; lent in the consumer by the step `Connection`, anew after each loss.
CONNECTION = ServiceKey[Any]("connection")
