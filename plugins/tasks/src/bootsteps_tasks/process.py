"""Things that one process must not share with the processes forked from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerProcess"]

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Makes one object in each process that asks. Safe from any thread.

    What was made before a fork is kept in the child and never used there: letting go of it would close a socket or drop
    a lock that still belongs to the parent (py-amqp shuts its socket down when it is collected).
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Return this process's object, made at the first call."""
        pid = os.getpid()
        found = self._made.get(pid)
        return self._made.setdefault(pid, self._make()) if found is None else found

    def peek(self) -> T | None:
        """Return this process's object if there is one."""
        return self._made.get(os.getpid())

    def drop(self) -> T | None:
        """Forget this process's object and return it."""
        return self._made.pop(os.getpid(), None)
