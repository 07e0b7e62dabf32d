"""How long jobs run, measured: what a thread may collect, and how many jobs may wait in the queue."""

from __future__ import annotations

__all__ = ["WINDOW_S", "RunTimes"]

#: In the queue is work worth at most so many seconds for each thread that is not in a long job.
WINDOW_S = 0.005
#: And at most so many jobs for each.
QUEUED_MOST = 32
#: The weight of the newest run in a mean.
NEWEST = 0.1
#: What is assumed of a kind that never ran.
UNKNOWN_S = 3600.0


class RunTimes:
    """Exponentially weighted mean run times, in seconds. Noted in one thread, read in any."""

    def __init__(self) -> None:
        self._by_kind: dict[str, float] = {}
        self._typical: float | None = None

    def note(self, kind: str, seconds: float) -> None:
        """Take a run into account."""
        mean = self._by_kind.get(kind, seconds)
        self._by_kind[kind] = mean + NEWEST * (seconds - mean)
        typical = seconds if self._typical is None else self._typical
        self._typical = typical + NEWEST * (seconds - typical)

    def expected(self, kind: str) -> float:
        """Return how long a job of this kind probably runs."""
        return self._by_kind.get(kind, UNKNOWN_S)

    def waiting(self, threads: int) -> int:
        """Return how many typical jobs may wait for so many threads; none before the first run."""
        if self._typical is None:
            return 0
        return threads * min(QUEUED_MOST, int(WINDOW_S / max(self._typical, 1e-9)))
