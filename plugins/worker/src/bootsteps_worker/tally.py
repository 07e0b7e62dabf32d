"""What became of the tasks of a worker that ends."""

from __future__ import annotations

from bootsteps import hookimpl

__all__ = ["Tally"]


class Tally:
    """Counts from the wish to end on. Its text is for the log."""

    def __init__(self) -> None:
        #: Tasks that ran to their end.
        self.finished = 0
        #: Tasks that were given back before their start, and in the midst of it.
        self.unstarted = self.interrupted = 0

    @hookimpl
    def task_settled(self) -> None:
        self.finished += 1

    @hookimpl
    def tasks_given_back(self, unstarted: int, interrupted: int) -> None:
        self.unstarted += unstarted
        self.interrupted += interrupted

    def __str__(self) -> str:
        returned = f"{self.unstarted} had not started, {self.interrupted} ran"
        return f"stopped; tasks finished meanwhile: {self.finished}; given back: {returned}"
