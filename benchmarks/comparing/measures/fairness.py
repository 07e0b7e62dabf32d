"""Do short tasks wait behind a long one? Two workers of two processes each, one long task, then 100 short ones.

A system that runs several tasks in a process at one time is told to run one, as long as this takes.
Ideal: three processes share the short tasks and nobody waits for the long one. `spread` is the 99th percentile of how
long the short tasks waited, divided by the same of the ideal.
"""

from __future__ import annotations

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale, percentile

__all__ = ["MEASURES", "ideal_waits"]

SHORT, SHORT_S, FREE = 100, 0.05, 3
#: Enough that each of the workers has had one, most likely.
WARM_UP = 40


def _run(cell: Cell, scale: Scale) -> Figures:
    slots = cell.slots(WARM_UP + 1 + SHORT)
    cell = cell.one_at_a_time()
    with cell.client() as client, cell.worker(name="first") as first, cell.worker(name="second") as second:

        def alive() -> bool:
            return first.alive() and second.alive()

        client.call("naps", 0, WARM_UP, SHORT_S)
        slots.wait_all(0, WARM_UP, cell.limit_s, alive)
        client.call("naps", WARM_UP, 1, scale.long_s)
        slots.wait_all(WARM_UP, 1, cell.limit_s, alive)
        client.call("naps", WARM_UP + 1, SHORT, SHORT_S)
        slots.wait_all(WARM_UP + 1, SHORT, cell.limit_s + scale.long_s, alive)
    pairs = zip(slots.sent(WARM_UP + 1, SHORT), slots.began(WARM_UP + 1, SHORT), strict=True)
    waits = [began - sent for sent, began in pairs]
    return {"wait": percentile(waits, 99) * 1000, "spread": percentile(waits, 99) / percentile(ideal_waits(), 99)}


def ideal_waits() -> list[float]:
    """Return how long each short task waits if none waits for the long one."""
    return [number // FREE * SHORT_S for number in range(SHORT)]


MEASURES = (
    Measure(
        "fairness",
        "one long task and 100 of 50 ms on two workers: how long the short ones wait",
        (
            Figure("wait", "fairness: wait of the short tasks, p99", "ms", compared=False),
            Figure("spread", "fairness: that wait by the ideal one", "×"),
        ),
        _run,
    ),
)
