"""How many cores this process may use: the default of `worker_concurrency` for every pool that can use them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["usable_cores"]


def usable_cores(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the cores that the affinity mask and the control group's quota leave, at least 1.

    `groups` is where control groups are mounted, `own` tells which this process is in (see cgroups(7)).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(groups, own))]))


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """Yield the quota in cores of every control group around this process that has one."""
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _upwards(groups, path, _quota_v2)
            elif "cpu" in controllers.split(","):
                yield from _upwards(groups / "cpu", path, _quota_v1)


def _upwards(root: Path, path: str, quota: Callable[[Path], float]) -> Iterator[float]:
    folder = root / path.lstrip("/")
    for place in (folder, *folder.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            yield quota(place)
        if place == root:
            break


def _quota_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text().split()
    return float(quota) / float(period)  # "max" = none: ValueError


def _quota_v1(folder: Path) -> float:
    quota = float((folder / "cpu.cfs_quota_us").read_text())
    if quota < 0:
        raise ValueError("no quota")
    return quota / float((folder / "cpu.cfs_period_us").read_text())
