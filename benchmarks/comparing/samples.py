"""The figures of all repetitions, and what is said of them: medians, spreads, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from comparing.measures import Figure, Figures
from comparing.systems import BASE

__all__ = ["Key", "Samples", "Spread", "base_of"]

#: measurement, system, broker
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Spread:
    """What several repetitions gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        return cls(statistics.median(values), min(values), max(values)) if values else None


@dataclass
class Samples:
    """One entry for each repetition of a cell; None where it failed."""

    runs: dict[Key, list[Figures | None]] = field(default_factory=dict)
    #: why cells failed, the last reason of each
    failures: dict[Key, str] = field(default_factory=dict)

    @property
    def repetitions(self) -> int:
        """How often the cells were measured that were measured most often: a run may have been ended early."""
        return max(map(len, self.runs.values()), default=0)

    def add(self, key: Key, figures: Figures | None, failure: str = "") -> None:
        self.runs.setdefault(key, []).append(figures)
        if figures is None:
            self.failures[key] = failure

    def spread(self, key: Key, figure: Figure) -> Spread | None:
        """Return median, lowest and highest of a figure; None if there is none."""
        return Spread.of([run[figure.key] for run in self.runs.get(key, ()) if run and figure.key in run])

    def ratio(self, key: Key, other: Key, figure: Figure) -> Spread | None:
        """Return how many times better a system is than another: above 1 = better, whatever the figure.

        Both were measured in the same repetition, so what else the machine did has the least say.
        """
        found = []
        for mine, theirs in zip(self.runs.get(key, ()), self.runs.get(other, ()), strict=False):
            if mine and theirs and mine.get(figure.key, 0) > 0 and theirs.get(figure.key, 0) > 0:
                quotient = mine[figure.key] / theirs[figure.key]
                found.append(quotient if figure.more else 1 / quotient)
        return Spread.of(found)


def base_of(names: Sequence[str]) -> str | None:
    """Return which of the systems the others' ratios refer to: Celery, else the first that is not ours."""
    others = [name for name in names if name != "ours"]
    return BASE if BASE in others else next(iter(others), None)
