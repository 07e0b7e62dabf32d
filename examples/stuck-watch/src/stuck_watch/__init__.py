"""Warn about tasks that run for too long: an example of a plugin in a distribution of its own."""

from stuck_watch.watch import WATCH, Watch

__all__ = ["WATCH", "Watch"]
