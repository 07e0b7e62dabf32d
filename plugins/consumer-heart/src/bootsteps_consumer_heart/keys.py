"""The service of the step `Heart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer_heart.heart import Heart

__all__ = ["HEART"]

#: Sends heartbeats: `consumer.heart`.
HEART: ServiceKey[Heart] = ServiceKey("heart")
