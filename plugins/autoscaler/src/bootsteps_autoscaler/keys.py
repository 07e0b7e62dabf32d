"""What others know of the autoscaler, without importing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_autoscaler.scaler import Autoscaler

__all__ = ["AUTOSCALER", "KEEPALIVE_S"]

AUTOSCALER: ServiceKey[Autoscaler] = ServiceKey("autoscaler")
#: How long children that were not needed are kept.
KEEPALIVE_S = 30.0
