"""How fast a client publishes, without a worker: one task after the other, and the way that a system has for many."""

from __future__ import annotations

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale

__all__ = ["MEASURES"]

#: The first ones open connections and declare queues.
WARM_UP = 20


def _run(cell: Cell, scale: Scale) -> Figures:
    count = scale.enqueued
    cell.slots(WARM_UP)
    with cell.client() as client:
        client.call("each", 0, WARM_UP)
        each = client.call("each", 0, count)
        figures = {"each": count / each["seconds"], "each_cpu": each["cpu_s"] / count * 1e6}
        if "bulk" in client.offers:
            figures["bulk"] = count / client.call("bulk", 0, count)["seconds"]
    return figures


MEASURES = (
    Measure(
        "enqueue",
        "publishing one by one and in bulk, without a worker",
        (
            Figure("each", "enqueue one by one", "tasks/s", more=True),
            Figure("each_cpu", "enqueue one by one, CPU of the client", "µs per task"),
            Figure("bulk", "enqueue in bulk", "tasks/s", more=True),
        ),
        _run,
    ),
)
