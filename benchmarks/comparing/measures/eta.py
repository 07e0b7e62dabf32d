"""What a load of tasks that are due in an hour does to a worker: how its memory grows, and the CPU that it takes."""

from __future__ import annotations

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale
from comparing.measures.memory import settle
from comparing.slots import NotDone

__all__ = ["MEASURES"]

DUE_S = 3600.0


def _run(cell: Cell, scale: Scale) -> Figures:
    slots = cell.slots(1 + scale.later)
    with cell.client() as client, cell.worker() as worker:
        if "later" not in client.offers:
            return {}
        client.call("each", 0, 1)
        slots.wait_all(0, 1, cell.limit_s, worker.alive)
        settle(worker, cell.limit_s)
        idle, cpu = worker.tree.pss_mib(), worker.tree.cpu_s()
        client.call("later", 1, scale.later, DUE_S)
        settle(worker, cell.limit_s)
        if any(slots.began(1, scale.later)):
            raise NotDone("a task that is due in an hour has begun")
        return {"growth": worker.tree.pss_mib() - idle, "cpu": worker.tree.cpu_s() - cpu}


MEASURES = (
    Measure(
        "eta",
        "many tasks that are due in an hour: how the worker's memory grows",
        (
            Figure("growth", "growth by tasks due in an hour", "MiB"),
            Figure("cpu", "CPU to take them", "s"),
        ),
        _run,
        enough=1,
    ),
)
