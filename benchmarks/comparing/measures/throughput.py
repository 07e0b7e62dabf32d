"""How many no-op tasks a second, for how much CPU: a backlog is published, then a worker is started on it.

The clock, the CPU and the context switches run from when a tenth of the tasks has begun to the last one, so that
neither start-up nor a second process that is late counts for any system. CPU and switches are read a moment after the
last task: what a system puts off (acknowledgements, results) is in them.
"""

from __future__ import annotations

import time

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale

__all__ = ["MEASURES"]

#: What a system does behind its last task is done by then; an idle worker uses next to nothing meanwhile.
SETTLE_S = 0.2
#: CPU and switches are those of the tasks that began after the first look. Where a fast worker leaves fewer of a small
#: backlog than this, nothing is said of them; the rate comes from the sink and does not depend on when we look.
LEAST_SHARE = 0.2


def _ignored(cell: Cell, scale: Scale) -> Figures:
    return _run(cell, scale, results=False)


def _stored(cell: Cell, scale: Scale) -> Figures:
    return _run(cell, scale, results=True)


def _run(cell: Cell, scale: Scale, results: bool) -> Figures:
    slots, count = cell.slots(scale.n), scale.n
    with cell.client(results) as client:
        client.call("fill", 0, count)
        with cell.worker(results) as worker:
            slots.wait_some(0, count, count // 10, cell.limit_s, worker.alive)
            cpu, switches, since = worker.tree.cpu_s(), worker.tree.voluntary_switches(), time.monotonic()
            slots.wait_all(0, count, cell.limit_s, worker.alive)
            time.sleep(SETTLE_S)
            cpu_s, switched = worker.tree.cpu_s() - cpu, worker.tree.voluntary_switches() - switches
            if results:
                client.call("last")
    began = sorted(slots.began(0, count))
    left = sum(1 for when in began if when > since)
    measured = began[count // 10 :]
    figures = {"rate": (len(measured) - 1) / (measured[-1] - measured[0])}
    if left >= count * LEAST_SHARE:
        figures |= {"cpu_ms": cpu_s / left * 1e6, "switches": switched / left}
    return figures


def _figures(suffix: str) -> tuple[Figure, ...]:
    return (
        Figure("rate", f"no-op tasks, results {suffix}", "tasks/s", more=True),
        Figure("cpu_ms", f"CPU, results {suffix}", "ms per 1,000 tasks"),
        Figure("switches", f"voluntary context switches, results {suffix}", "per task"),
    )


MEASURES = (
    Measure("throughput", "a backlog of no-op tasks, results ignored", _figures("ignored"), _ignored),
    Measure("stored", "a backlog of no-op tasks, results stored", _figures("stored"), _stored, results=True),
)
