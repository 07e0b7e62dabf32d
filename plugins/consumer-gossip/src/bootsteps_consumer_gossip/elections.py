"""Which of several workers does what only one may do (wire reference 12)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Candidate", "Elections"]

#: Seconds after which those decide who are there: a worker may have died between its heartbeat and its vote.
DECIDE_AFTER_S = 2.0
#: Elections that are remembered after their end, so that a late vote does not begin them anew.
REMEMBERED = 1_000


class Candidate(NamedTuple):
    """One that stands for election. The smallest wins, as in Celery."""

    clock: int
    #: `hostname.pid`
    name: str
    topic: str = ""
    action: Any = None

    def rank(self) -> tuple[int, str]:
        """What is compared."""
        return self.clock, self.name


@dataclass
class _Election:
    ends: float
    candidates: dict[str, Candidate] = field(default_factory=dict)


class Elections:
    """Collects candidates until everybody stood, and then tells the winner. Loop thread only.

    Every worker that gets the command stands, and each decides for itself from what it heard: all hear the same.
    `expected()` returns the node names (with their pids, as candidates are called) of which one is waited for.
    """

    def __init__(
        self,
        expected: Callable[[], Iterable[str]],
        decided: Callable[[str, Candidate], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._decided = decided
        self._clock = clock
        self._open: dict[str, _Election] = {}
        self._over: dict[str, None] = {}

    def stands(self, id: str, candidate: Candidate) -> None:
        """Note a candidate. Nothing happens if that election is over."""
        if id in self._over:
            return
        election = self._open.setdefault(id, _Election(self._clock() + DECIDE_AFTER_S))
        election.candidates[candidate.name] = candidate
        self._decide(id, election)

    def look(self) -> None:
        """End the elections that have waited for somebody for too long."""
        for name, election in list(self._open.items()):
            if self._clock() >= election.ends:
                self._end(name, election)

    def __len__(self) -> int:
        return len(self._open)

    def _decide(self, id: str, election: _Election) -> None:
        if set(self._expected()) <= election.candidates.keys():
            self._end(id, election)

    def _end(self, id: str, election: _Election) -> None:
        del self._open[id]
        self._over[id] = None
        while len(self._over) > REMEMBERED:
            del self._over[next(iter(self._over))]
        self._decided(id, min(election.candidates.values(), key=Candidate.rank))
