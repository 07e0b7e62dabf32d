"""Heartbeats: tells monitors and other workers that this worker is alive."""

from bootsteps_consumer_heart.heart import Heart
from bootsteps_consumer_heart.keys import HEART

__all__ = ["HEART", "Heart"]
