"""Doing something now and then, on the occasion of something else."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic

__all__ = ["NowAndThen"]


class NowAndThen:
    """Calls something when it is called itself, at most every so many seconds, in one thread at a time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._lock = Lock()
        self._next = monotonic() + every_s

    def __call__(self, work: Callable[[], object]) -> None:
        """Do it if it is time and nobody else is at it."""
        if monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = monotonic() + self._every_s
            work()
        finally:
            self._lock.release()
