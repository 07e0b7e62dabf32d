"""Where every task of every system notes that it began: one slot of eight bytes in a file that all processes map.

BENCH_SINK names the file. Slot i holds the time at which task i began, and slot i + half the one at which it was sent;
0.0 means not yet. The clock is the system's monotonic one, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import os
from time import monotonic

__all__ = ["began", "sent"]


def _map(path: str) -> memoryview[float]:
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("d")


_slots = _map(os.environ["BENCH_SINK"])
_half = len(_slots) // 2


def began(index: int) -> None:
    """Note that a task's body runs: the only thing that a no-op task does."""
    _slots[index] = monotonic()


def sent(index: int) -> None:
    """Note that a task is about to be published."""
    _slots[_half + index] = monotonic()
