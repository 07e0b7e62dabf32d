"""Which tasks the pool's children have begun: told to those who want to know, and found out for them only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from bootsteps import Hooks, Outcome, RunningJob, RunningRequest, Timer, TimerEntry
from bootsteps_consumer_tasks.ledger import Request
from bootsteps_tasks.message import TaskHeaders

__all__ = ["Starts", "snapshot_of"]

#: Seconds between two looks at the pool: doubling while nothing begins.
SOON_S, LATER_S = 0.01, 0.32


def snapshot_of(headers: TaskHeaders, outcome: Outcome) -> RunningRequest:
    """Return a task as it ran, from its outcome that came now."""
    started, time_start = time.monotonic() - outcome.runtime_s, time.time() - outcome.runtime_s
    return RunningRequest(headers.id, headers.name, started, time_start, outcome.pid)


class Starts:
    """Announces `task_started`. Loop thread only.

    A pool tells nothing when a job begins, since nobody should pay for that: what runs can be looked at. So a short
    task is told together with its outcome, just before it, and a long one at the next look.
    """

    def __init__(self, hooks: Hooks, running: Callable[[], Sequence[RunningJob]], timer: Timer) -> None:
        self._hooks = hooks
        self._running = running
        self._timer = timer
        #: Some tasks have requests that look on.
        self.watched = False
        #: By sequence number: the pool has them, and nobody knows yet that they run.
        self._waiting: dict[int, Request] = {}
        self._entry: TimerEntry | None = None
        self._pause_s = SOON_S

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def watch(self, requests: Iterable[Request]) -> None:
        """These go to the pool now."""
        heard = bool(self._hooks.listeners("task_started"))
        if heard or self.watched:
            self._waiting.update((request.seq, request) for request in requests if heard or request.watch)
        if self._waiting:
            self._pause_s = SOON_S
            if self._entry is None:
                self._entry = self._timer.call_after(self._pause_s, self._look)

    def ended(self, request: Request, outcome: Outcome) -> None:
        """It has ended: tell that it had begun, if nobody did."""
        if self._waiting.pop(request.seq, None) is not None and (outcome.lost is None or outcome.runtime_s):
            self._tell(request, snapshot_of(request.headers, outcome))

    def forget(self, requests: Iterable[Request]) -> None:
        """The pool has not started these, and will not."""
        for request in requests:
            self._waiting.pop(request.seq, None)

    def stop(self) -> None:
        """Look no more."""
        self._waiting.clear()
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def _look(self) -> None:
        self._entry = None
        now, clock = time.time(), time.monotonic()
        for job in sorted(self._running(), key=lambda job: job.started):
            request = self._waiting.pop(job.seq, None)
            if request is not None:
                headers = request.headers
                since = now - (clock - job.started)
                self._tell(request, RunningRequest(headers.id, headers.name, job.started, since, job.pid))
        if self._waiting and (self.watched or self._hooks.listeners("task_started")):
            self._pause_s = min(2 * self._pause_s, LATER_S)
            self._entry = self._timer.call_after(self._pause_s, self._look)
        else:
            self._waiting.clear()

    def _tell(self, request: Request, started: RunningRequest) -> None:
        self._hooks.announce("task_started", request=started, routing_key=request.headers.routing_key)
        if request.watch is not None:
            request.watch.accepted(started.pid, started.time_start)
