"""How long until a worker is of use (the first task has begun), and what its command line takes."""

from __future__ import annotations

import time

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale

__all__ = ["MEASURES"]

#: The best of so many runs: what else runs on the machine only ever adds.
ATTEMPTS = 3


def _run(cell: Cell, scale: Scale) -> Figures:
    slots = cell.slots(1)
    with cell.client() as client:
        client.call("each", 0, 1)
        spawned = time.monotonic()
        with cell.worker() as worker:
            slots.wait_all(0, 1, cell.limit_s, worker.alive)
    figures = {"ready": (slots.began(0, 1)[0] - spawned) * 1000}
    for name, words in (("help", cell.system.help), ("version", cell.system.version)):
        if words:
            figures[name] = min(cell.command_s(words) for _ in range(ATTEMPTS)) * 1000
    return figures


MEASURES = (
    Measure(
        "startup",
        "from starting a worker to the beginning of its first task; --help and --version",
        (
            Figure("ready", "start-up: first task begins", "ms"),
            Figure("help", "--help of the worker's command", "ms"),
            Figure("version", "--version", "ms"),
        ),
        _run,
    ),
)
