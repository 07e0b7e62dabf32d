"""What the step lends."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from bootsteps import RequestLog, RunningRequest, ServiceKey

__all__ = ["WATCH", "Watch"]


class Watch:
    """Knows which running requests are overdue. Loop thread only."""

    def __init__(self, requests: RequestLog, limit_s: float, clock: Callable[[], float] = monotonic) -> None:
        self.limit_s = limit_s
        self._requests = requests
        self._clock = clock

    def overdue(self) -> list[RunningRequest]:
        """Return the overdue requests, longest-running first."""
        before = self._clock() - self.limit_s
        late = [request for request in self._requests.running() if request.started < before]
        return sorted(late, key=lambda request: request.started)


WATCH = ServiceKey[Watch]("stuck_watch")
