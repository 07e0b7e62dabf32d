"""In which order a consumer takes from its lists, and how much from each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bootsteps_transport_redis.source import Source

__all__ = ["Plan", "Planner"]


class Plan(NamedTuple):
    """One order of the lists, group after group (a group is a priority)."""

    sources: tuple[Source, ...]
    keys: tuple[str, ...]
    tails: tuple[bytes, ...]
    #: How many lists a group has.
    width: int
    #: Of a hundred messages, how many at most from each group before the others had theirs; 0 is no limit.
    parts: tuple[float, ...]

    def caps(self, limit: int) -> list[int]:
        """Return how many of `limit` messages each group may give before all others had theirs; 0 is no limit."""
        return [-int(-limit * part // 1) for part in self.parts]


class Planner:
    """Makes the plans for some queues, a different one each time, so that none is always first."""

    def __init__(
        self, queues: Sequence[Sequence[Source]], steps: Sequence[int], weights: Mapping[int, float], rotate: bool
    ) -> None:
        """`queues` holds the lists of each queue, as many as there are `steps`; without weights steps are strict."""
        self._queues = queues
        self._steps = steps
        self._rotate = rotate
        self._weights = [max(float(weights.get(step, 1.0)), 0.001) for step in steps] if weights else []
        self._credit = [0.0] * len(self._weights)
        self._turn = 0
        self._made: dict[tuple[int, int], Plan] = {}

    def next(self) -> Plan:
        """Return the plan for the next call."""
        first_queue = self._turn % len(self._queues) if self._rotate else 0
        self._turn += 1
        first_step = self._weighted_step()
        plan = self._made.get((first_queue, first_step))
        if plan is None:
            plan = self._made[first_queue, first_step] = self._make(first_queue, first_step)
        return plan

    def _weighted_step(self) -> int:
        """Return whose turn it is, as often as its weight says (smooth weighted round robin, as nginx does it)."""
        if not self._weights:
            return 0
        self._credit = [credit + weight for credit, weight in zip(self._credit, self._weights, strict=True)]
        first = max(range(len(self._credit)), key=self._credit.__getitem__)
        self._credit[first] -= sum(self._weights)
        return first

    def _make(self, first_queue: int, first_step: int) -> Plan:
        queues = [*self._queues[first_queue:], *self._queues[:first_queue]]
        order = [first_step, *(i for i in range(len(self._steps)) if i != first_step)]
        sources = tuple(queue[i] for i in order for queue in queues)
        total = sum(self._weights)
        parts = tuple(self._weights[i] / total for i in order) if self._weights else (0.0,) * len(order)
        return Plan(
            sources,
            tuple(source.key for source in sources),
            tuple(source.tail for source in sources),
            len(queues),
            parts,
        )
