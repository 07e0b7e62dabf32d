"""What is wrong with a schedule."""

from __future__ import annotations

from bootsteps import KernelError

__all__ = ["ScheduleError"]


class ScheduleError(KernelError, ValueError):
    """A schedule or an entry of `beat_schedule` that cannot be."""
