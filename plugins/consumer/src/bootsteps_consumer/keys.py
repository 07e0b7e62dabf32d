"""The services of the consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer.consumer import Consumer

__all__ = ["AGENT", "CONNECTION", "CONSUMER"]

#: Lent in the worker by the step `Consumer`.
CONSUMER: ServiceKey[Consumer] = ServiceKey("consumer")
#: The present `kombu.Connection`; lent in the consumer by the step `Connection`, anew after each loss.
CONNECTION = ServiceKey[Any]("connection")
#: What `worker_agent` names; lent in the consumer by the step `Agent`, anew with each connection.
AGENT = ServiceKey[Any]("agent")
