"""Memory of the worker's tree: after its first task, and after many. A shared page counts once for all who share it."""

from __future__ import annotations

import time

from comparing.cell import Cell, Worker
from comparing.measures.base import Figure, Figures, Measure, Scale
from comparing.slots import NotDone

__all__ = ["MEASURES", "settle"]

#: A tree has come to rest when it used less than this share of one processor during a second.
IDLE_SHARE = 0.05
LOOK_S = 1.0


def settle(worker: Worker, limit_s: float) -> None:
    """Wait until the worker has nothing more to do. Raises NotDone."""
    ends, before = time.monotonic() + limit_s, worker.tree.cpu_s()
    while True:
        time.sleep(LOOK_S)
        now = worker.tree.cpu_s()
        if now - before < IDLE_SHARE * LOOK_S:
            return
        if time.monotonic() > ends or not worker.alive():
            raise NotDone(f"the worker did not come to rest within {limit_s:.0f} s")
        before = now


def _run(cell: Cell, scale: Scale) -> Figures:
    count = scale.remembered
    slots = cell.slots(1 + count)
    with cell.client() as client, cell.worker() as worker:
        client.call("each", 0, 1)
        slots.wait_all(0, 1, cell.limit_s, worker.alive)
        settle(worker, cell.limit_s)
        idle, processes = worker.tree.pss_mib(), len(worker.tree.pids())
        client.call("fill", 1, count)
        slots.wait_all(1, count, cell.limit_s, worker.alive)
        settle(worker, cell.limit_s)
        return {"idle": idle, "after": worker.tree.pss_mib(), "processes": processes}


MEASURES = (
    Measure(
        "memory",
        "memory (PSS) of the worker's tree, idle and after many tasks",
        (
            Figure("idle", "memory (PSS), idle", "MiB"),
            Figure("after", "memory (PSS), after many tasks", "MiB"),
            Figure("processes", "processes", "", compared=False),
        ),
        _run,
        enough=1,
    ),
)
