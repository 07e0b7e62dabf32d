"""Memory that the allocator keeps free after a burst of jobs: at rest the system gets it back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from bootsteps import Timer, TimerEntry

__all__ = ["JOBS", "REST_S", "Spare", "trim"]

#: It is worth it after so many jobs,
JOBS = 1000
#: when for so many seconds nothing was reported.
REST_S = 1.0


def trim() -> None:
    """Give free memory back to the system, in a third of a millisecond. With glibc; elsewhere nothing happens."""
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if found is not None:
        found(0)


class Spare:
    """Trims the memory of this process after many jobs, when it is at rest. Loop thread only."""

    def __init__(self, timer: Timer, give_back: Callable[[], object] = trim) -> None:
        self._timer = timer
        self._give_back = give_back
        self._jobs = self._before = 0
        self._entry: TimerEntry | None = None

    def note(self, jobs: int) -> None:
        """So many jobs were reported."""
        self._jobs += jobs
        if self._jobs >= JOBS and self._entry is None:
            self._look_later()

    def stop(self) -> None:
        """Look no more."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def _look_later(self) -> None:
        self._before = self._jobs
        self._entry = self._timer.call_after(REST_S, self._look)

    def _look(self) -> None:
        self._entry = None
        if self._jobs != self._before:
            self._look_later()
            return
        self._jobs = 0
        self._give_back()
