"""Heartbeats: tells monitors and other workers that this worker is alive."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
from bootsteps_consumer_heart.keys import HEART

if TYPE_CHECKING:
    from bootsteps_consumer_heart.heart import Heart

__all__ = ["HEART", "Heart"]

__getattr__ = lazily(__name__, {"Heart": "heart"})
