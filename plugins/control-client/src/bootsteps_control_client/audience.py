"""Who will answer: so that nobody waits for answers that cannot come, and none is missed that would."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["GRACE_S", "Audience", "addressed"]

#: Where nobody knows how many were reached: so long must it be silent after all known workers have answered.
GRACE_S = 0.25


def addressed(
    names: Iterable[str], destination: Sequence[str] | None, pattern: str | None, matcher: str | None
) -> set[str]:
    """Return those of these nodes that act on a command, as each of them decides for itself (wire reference 10.1)."""
    if destination:
        return {name for name in names if name in destination}
    if pattern and matcher:
        from kombu.matcher import match

        matches: Any = match  # kombu says that it takes bytes
        return {name for name in names if matches(name, pattern, matcher)}
    return set(names)


@dataclass
class Audience:
    """Tells how long to go on listening. Times are monotonic seconds."""

    #: Seconds of silence after which nobody is waited for; None: for ever.
    timeout: float | None
    #: Answers that are enough.
    limit: int | None = None
    #: So many will answer if all are well; None when that is not known.
    count: int | None = None
    #: Nodes that answered before, where the number is not known.
    known: Collection[str] = ()
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._heard_at = self.clock()
        self._answers = 0
        self._missing = set(self.known)

    def heard(self, nodes: Iterable[str]) -> None:
        """Note an answer."""
        self._answers += 1
        self._missing.difference_update(nodes)
        self._heard_at = self.clock()

    def patience(self) -> float | None:
        """Return for how many seconds to wait for the next answer; None = for ever, 0 = no more."""
        enough = self.limit if self.count is None else min(self.count, self.limit or self.count)
        if enough is not None and self._answers >= enough:
            return 0.0
        silence = self.timeout
        if self.count is None and self.known and self._answers and not self._missing:
            silence = GRACE_S if silence is None else min(GRACE_S, silence)
        return None if silence is None else max(0.0, self._heard_at + silence - self.clock())
