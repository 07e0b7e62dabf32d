"""How long a task waits at 100 a second on an idle worker: until it starts, and until its caller has the result.

To the start: published at an even rate by a clock that does not wait for the tasks. To the result: published and waited
for one at a time, at most as often. Both count what publishing takes.
"""

from __future__ import annotations

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale, percentile

__all__ = ["MEASURES"]

RATE = 100.0
PERCENTS = (50, 95, 99)
#: The first tasks open connections and fill caches.
WARM_UP = 20


def _run(cell: Cell, scale: Scale) -> Figures:
    count = max(WARM_UP, int(scale.paced_s * RATE))
    slots = cell.slots(WARM_UP + count + WARM_UP + count)
    with cell.client(results=True) as client, cell.worker(results=True) as worker:
        client.call("results", 0, WARM_UP, RATE)
        client.call("paced", WARM_UP, count, RATE)
        slots.wait_all(WARM_UP, count, cell.limit_s, worker.alive)
        waits = client.call("results", WARM_UP + count, count, RATE)["waits"]
    pairs = zip(slots.sent(WARM_UP, count), slots.began(WARM_UP, count), strict=True)
    return {
        **_percentiles("start", [began - sent for sent, began in pairs]),
        **_percentiles("result", waits),
    }


def _percentiles(prefix: str, seconds: list[float]) -> Figures:
    return {f"{prefix}_p{percent}": percentile(seconds, percent) * 1000 for percent in PERCENTS}


MEASURES = (
    Measure(
        "latency",
        "at 100 tasks a second: from publishing to start, and to the result",
        tuple(
            Figure(f"{prefix}_p{percent}", f"latency to {prefix}, p{percent}", "ms")
            for prefix in ("start", "result")
            for percent in PERCENTS
        ),
        _run,
        results=True,
    ),
)
