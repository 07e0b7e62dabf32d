"""What a tree of processes used, as Linux tells in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Tree"]

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


class Tree:
    """A process that leads a session, and all that descend from it or belong to that session.

    A process that ends while we look counts as nothing.
    """

    def __init__(self, root: int) -> None:
        self._root = root

    def pids(self) -> list[int]:
        """The processes of the tree, the root first."""
        children: dict[int, list[int]] = {}
        orphans = []
        for pid, (_, parent, _, session, *_) in _all_stats():
            children.setdefault(int(parent), []).append(pid)
            if int(session) == self._root:
                orphans.append(pid)
        found = dict.fromkeys([self._root, *orphans])
        waiting = list(found)
        for pid in waiting:
            fresh = [child for child in children.get(pid, ()) if child not in found]
            found.update(dict.fromkeys(fresh))
            waiting.extend(fresh)
        return list(found)

    def cpu_s(self) -> float:
        """Seconds of CPU time: user and system, and those of children that have ended and were waited for."""
        return sum(_cpu_ticks(_stat(pid)) for pid in self.pids()) * TICK_S

    def cpu_s_by_process(self) -> dict[int, float]:
        """The same of each process that lives."""
        return {pid: _cpu_ticks(_stat(pid)) * TICK_S for pid in self.pids()}

    def pss_mib(self) -> float:
        """MiB of memory, each shared page divided by the number of processes that share it."""
        return sum(_field(PROC / str(pid) / "smaps_rollup", "Pss:") for pid in self.pids()) / 1024

    def voluntary_switches(self) -> int:
        """How often a thread of the tree gave up its processor to wait for something."""
        tasks = [task for pid in self.pids() for task in _threads(pid)]
        return sum(_field(task / "status", "voluntary_ctxt_switches:") for task in tasks)


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            yield int(entry.name), fields


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third (the state) on; the name before may hold anything."""
    return _text(PROC / str(pid) / "stat").rpartition(")")[2].split()


def _cpu_ticks(fields: list[str]) -> int:
    """Sum up utime, stime, cutime and cstime: fields 14 to 17 in proc(5)."""
    return sum(map(int, fields[11:15]))


def _threads(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _field(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
