"""The services of the step `Tasks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer_tasks.settlement import Settlement

__all__ = ["QOS", "SETTLEMENT", "STRATEGIES", "TASK_CONSUMER"]

#: Settles outcomes; lent in the worker by the step `Requests`.
SETTLEMENT: ServiceKey[Settlement] = ServiceKey("settlement")

#: The `kombu.Consumer` of task messages.
TASK_CONSUMER = ServiceKey[Any]("task_consumer")
#: The `kombu.common.QoS` of its channel: `value`, `set`, `increment_eventually`, `decrement_eventually`.
QOS = ServiceKey[Any]("qos")
#: Task name to the function that takes a message of that task.
STRATEGIES = ServiceKey[Mapping[str, Any]]("strategies")
