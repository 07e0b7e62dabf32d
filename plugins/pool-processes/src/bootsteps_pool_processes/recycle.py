"""When a child has done its share and is replaced by a fresh one."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LOOK_S", "NEVER", "Recycling", "Share", "used_by", "used_kib"]


@dataclass(frozen=True, slots=True)
class Recycling:
    """What a child may use up; None = as much as it likes."""

    #: So many jobs.
    jobs: int | None = None
    #: So many KiB of memory in use after a job; the job that goes beyond is finished.
    memory_kib: int | None = None
    #: Beyond so many KiB it is killed, also in the midst of a job. The pool looks, every `LOOK_S`.
    hard_memory_kib: int | None = None


NEVER = Recycling()


#: So often the pool looks what its children use, if that is limited. Reading it takes some 20 µs for each.
LOOK_S = 0.1


class Share:
    """Counts what one child has used up. Made in the child."""

    def __init__(self, recycling: Recycling) -> None:
        self._left = recycling.jobs
        self._jobs = recycling.jobs
        self._memory_kib = recycling.memory_kib

    def used_up(self) -> str | None:
        """Take one job into account; return why the child is to go, for people, None if it may stay."""
        return self.count() or self.memory()

    def count(self) -> str | None:
        """Count one job; return why there may be no more, None if there may."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                return f"it has run {self._jobs} jobs"
        return None

    def memory(self) -> str | None:
        """Return why the memory in use is too much, None if it is not."""
        if self._memory_kib is not None:
            used = used_kib()
            if used > self._memory_kib:
                return f"it uses {used} KiB of memory, and {self._memory_kib} are allowed"
        return None


def used_kib() -> int:
    """Return what is resident now, or where that cannot be known, the most that ever was."""
    found = used_by("self")
    return _peak_kib() if found is None else found


def used_by(process: int | str) -> int | None:
    """Return how many KiB of a process are resident now (see proc(5)); None where that cannot be known."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_bytes().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _peak_kib() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak  # bytes there, KiB elsewhere
