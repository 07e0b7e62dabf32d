"""The harness's side of the sink (apps/sink.py): which tasks have begun, and when."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["NotDone", "Slots"]

POLL_S = 0.005


class NotDone(Exception):
    """Something that a cell waited for did not happen; the text says what."""


class Slots:
    """One slot for each of `count` tasks. Times are the system's monotonic clock, in seconds."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._count = count
        path.write_bytes(bytes(16 * count))
        with path.open("r+b") as file:
            self._slots: memoryview[float] = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

    def began(self, first: int, count: int) -> list[float]:
        """When each of these tasks began; 0.0 for those that have not."""
        return list(self._slots[first : first + count])

    def sent(self, first: int, count: int) -> list[float]:
        """When each of these tasks was about to be published."""
        return self.began(self._count + first, count)

    def wait_some(self, first: int, count: int, some: int, limit_s: float, alive: Callable[[], object]) -> None:
        """Wait until `some` of these tasks have begun. Raises NotDone."""

        def done() -> bool:
            return count - self.began(first, count).count(0.0) >= some

        self._wait(done, limit_s, alive, f"not {some} of {count} tasks began")

    def wait_all(self, first: int, count: int, limit_s: float, alive: Callable[[], object]) -> None:
        """Wait until all of these tasks have begun; looks at each slot about once. Raises NotDone."""
        slots, ends, at = self._slots, first + count, first

        def done() -> bool:
            nonlocal at
            while at < ends and slots[at]:
                at += 1
            return at == ends

        self._wait(done, limit_s, alive, f"not all of {count} tasks began")

    @staticmethod
    def _wait(true: Callable[[], bool], limit_s: float, alive: Callable[[], object], what: str) -> None:
        ends = time.monotonic() + limit_s
        while not true():
            if not alive():
                raise NotDone(f"{what}: the worker has ended")
            if time.monotonic() > ends:
                raise NotDone(f"{what} within {limit_s:.0f} s")
            time.sleep(POLL_S)
