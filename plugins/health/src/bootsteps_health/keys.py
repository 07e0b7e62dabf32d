"""What the worker's step lends to the consumer's."""

from __future__ import annotations

from bootsteps import ServiceKey
from bootsteps_health.state import HealthState

__all__ = ["HEALTH"]

HEALTH = ServiceKey[HealthState]("health")
