"""What the worker's step lends to the consumer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_health.state import HealthState

__all__ = ["HEALTH"]

HEALTH: ServiceKey[HealthState] = ServiceKey("health")
