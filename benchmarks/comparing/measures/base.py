"""What a measurement is, and what the tables need to know of its figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comparing.cell import Cell

__all__ = ["Figure", "Figures", "Measure", "Scale", "percentile"]

Figures = dict[str, float]


@dataclass(frozen=True)
class Scale:
    """How much is done: the short run's numbers."""

    #: tasks for throughput
    n: int = 3000
    #: tasks to publish when publishing is measured
    enqueued: int = 2000
    #: tasks after which memory is looked at again
    remembered: int = 5000
    #: tasks that are due in an hour
    later: int = 5000
    #: seconds at 100 tasks a second
    paced_s: float = 2.0
    #: seconds of the long task
    long_s: float = 3.0

    @classmethod
    def full(cls) -> Scale:
        """What published figures come from."""
        return cls(n=10_000, enqueued=10_000, remembered=50_000, later=100_000, paced_s=5.0, long_s=10.0)


@dataclass(frozen=True)
class Figure:
    """One number of a measurement."""

    key: str
    title: str
    unit: str
    #: whether a larger number is better
    more: bool = False
    #: whether a ratio of it says something
    compared: bool = True


@dataclass(frozen=True)
class Measure:
    """A measurement of one cell. `run` raises NotDone if the system does not do what it should."""

    name: str
    help: str
    figures: tuple[Figure, ...]
    run: Callable[[Cell, Scale], Figures]
    #: whether it needs a place for results
    results: bool = False
    #: how many repetitions are enough: memory is steady, and large numbers take long
    enough: int | None = None
    #: whether it is of ours and of nobody else
    ours_alone: bool = False


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
