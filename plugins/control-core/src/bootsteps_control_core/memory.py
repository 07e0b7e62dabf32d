"""How much memory the worker takes: samples, and what keeps objects alive. For the hunt for a leak."""

from __future__ import annotations

import os
from collections import deque
from importlib import import_module
from typing import Any

from bootsteps import CommandView, KernelError, ServiceKey, Step, WorkerView, inspect_command

__all__ = ["MEMORY", "MemoryLog", "MemorySamples", "memdump", "memsample", "objgraph"]

#: Samples that are kept.
KEPT = 1000
#: A tool that whoever hunts a leak installs for that day, as with Celery.
LIBRARY = "objgraph"


class MemoryLog:
    """The samples that were taken, in bytes. Written only by whoever is asked for one."""

    def __init__(self) -> None:
        self._samples: deque[int] = deque(maxlen=KEPT)

    def sample(self) -> int:
        """Take a sample and return it. Raises `KernelError` where the system does not tell."""
        found = resident_bytes()
        self._samples.append(found)
        return found

    def some(self, most: int) -> list[int]:
        """Return so many of the samples, spread over all."""
        samples = list(self._samples)
        if len(samples) <= most:
            return samples
        step = len(samples) / max(most, 1)
        return [samples[int(number * step)] for number in range(most)]


#: Lent in the worker by the step `MemorySamples`.
MEMORY: ServiceKey[MemoryLog] = ServiceKey("memory_samples")


class MemorySamples(Step):
    """Keeps the samples of `inspect memsample` for `inspect memdump`."""

    provides = (MEMORY,)

    def create(self, worker: WorkerView) -> MemoryLog:
        return MemoryLog()


def resident_bytes() -> int:
    """Return this process's resident memory, as Linux tells it. Raises `KernelError`."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError as exc:
        what = f"this system does not tell how much memory a process takes: {exc}"
        raise KernelError(what, ("commands memsample and memdump",), "ask the system's own tools: ps, top") from exc


def human(number: int) -> str:
    """Return 51380224 as `49.0MB`."""
    size, unit = float(number), "b"
    for bigger in ("KB", "MB", "GB"):
        if size < 1024:
            break
        size, unit = size / 1024, bigger
    return f"{size:.1f}{unit}"


@inspect_command(requires=(MEMORY,))
def memsample(state: CommandView, **extra: Any) -> str:
    """Sample current RSS memory usage."""
    return human(state.get(MEMORY).sample())


@inspect_command(requires=(MEMORY,), args=[("samples", int)], signature="[n_samples=10]")
def memdump(state: CommandView, samples: int = 10, **extra: Any) -> str:
    """Dump statistics of previous memsample requests."""
    log = state.get(MEMORY)
    lines = [f"{number}: {human(size)}" for number, size in enumerate(log.some(max(samples, 1)))]
    lines = ["- rss (sample):", *lines] if lines else []
    return "\n".join([*lines, f"- rss (end): {human(resident_bytes())}."]) + "\n"


@inspect_command(
    default_timeout=60.0,
    args=[("type", str), ("num", int), ("max_depth", int)],
    signature="[object_type=Request] [num=200 [max_depth=10]]",
)
def objgraph(state: CommandView, num: int = 200, max_depth: int = 10, type: str = "Request") -> dict[str, Any]:
    """Create graph of uncollected objects (memory-leak debugging)."""
    try:
        drawn = import_module(LIBRARY)
    except ImportError as exc:
        raise ImportError("Requires the objgraph library") from exc
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="objgraph-", suffix=".png", delete=False) as file:
        objects = drawn.by_type(type)[:num]
        drawn.show_backrefs(objects, max_depth=max_depth, highlight=lambda value: value in objects, filename=file.name)
        return {"filename": file.name}
