"""Counts what happens to tasks. What counts is a dictionary's entry and no more: a scrape does the rest."""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

__all__ = ["Tally", "exception_in"]

#: (task name, routing key)
Task = tuple[str, str]


class Tally:
    """Written by the loop, and by whoever publishes; read by the thread that is scraped."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ends of the buckets, in seconds, ascending."""
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        #: By what happened (`received`), then by task.
        self.counts: dict[str, Counter[Task]] = {}
        #: By task and the name of the exception's class.
        self.failed: Counter[tuple[str, str, str]] = Counter()
        #: By task: how many runs in each bucket (the last: beyond all bounds), and the sum of the seconds.
        self.buckets: dict[Task, list[int]] = {}
        self.seconds: dict[Task, float] = {}

    def count(self, what: str, name: str, key: str) -> None:
        """Something happened to a task."""
        with self._lock:
            found = self.counts.get(what)
            if found is None:
                found = self.counts[what] = Counter()
            found[name, key] += 1

    def fail(self, name: str, key: str, exception: str) -> None:
        """A task failed."""
        with self._lock:
            self.failed[name, key, exception] += 1

    def ran(self, name: str, key: str, seconds: float) -> None:
        """A task succeeded after so many seconds."""
        task = (name, key)
        with self._lock:
            found = self.buckets.get(task)
            if found is None:
                found = self.buckets[task] = [0] * (len(self.bounds) + 1)
            found[bisect_left(self.bounds, seconds)] += 1
            self.seconds[task] = self.seconds.get(task, 0.0) + seconds

    def read(self, look: Callable[[Tally], None]) -> None:
        """Call with this tally, which does not change meanwhile."""
        with self._lock:
            look(self)


def exception_in(text: str) -> str:
    """Return the name of the class from an exception's repr: `ValueError('x')`, `mod.Error(1)`."""
    found = re.match(r"<?([A-Za-z_][\w.]*)", text)
    return found[1].rpartition(".")[2] if found else "Exception"
