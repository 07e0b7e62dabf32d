"""Run jobs in the loop thread, one for each turn of the loop."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bootsteps import Hub, Job, Outcome, Runner, RunningJob
from bootsteps.errors import LackingCapability

__all__ = ["SoloPool"]

#: What helps whoever wants more than one task at a time.
OTHERS = "start the worker with another pool: -P prefork, -P threads"


class SoloPool:
    """Implements the protocol `bootsteps.Pool`."""

    capabilities = frozenset[str]()
    concurrency = 1
    #: While a task runs the loop stands still: what must go on meanwhile needs a thread.
    runs_in_loop = True

    def __init__(self, hub: Hub, make_runner: Callable[[], Runner]) -> None:
        self._hub = hub
        self._runner = make_runner()
        self._report: Callable[[Sequence[Outcome]], None] = lambda outcomes: None
        self._running: RunningJob | None = None
        #: Jobs that were taken and are not finished.
        self.backlog: deque[Job] = deque()

    def start(self) -> None:
        """Get the runner ready."""
        self._runner.start()

    def stop(self) -> None:
        """Forget the backlog and release the runner."""
        self.backlog.clear()
        self._runner.stop()

    def connect(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> None:
        self._report = on_outcomes

    def free(self) -> int:
        return max(0, 1 - len(self.backlog))

    def submit(self, jobs: Sequence[Job]) -> None:
        if jobs and not self.backlog:
            self._hub.call_soon(self._turn)
        self.backlog.extend(jobs)

    def _turn(self) -> None:
        """Run one job, then let the loop turn."""
        if not self.backlog:
            return
        outcome = self._run(self.backlog[0])
        self.backlog.popleft()
        if self.backlog:
            self._hub.call_soon(self._turn)
        self._report([outcome])

    def _run(self, job: Job) -> Outcome:
        self._running = RunningJob(job.seq, os.getpid(), time.monotonic())
        try:
            payload = self._runner.run(job.payload)
            outcome = Outcome(job.seq, payload, pid=os.getpid())
            self._runner.flush()
        except Exception as exc:
            outcome = Outcome(job.seq, lost=f"{type(exc).__name__}: {exc}", pid=os.getpid())
        runtime_s = time.monotonic() - self._running.started
        self._running = None
        return replace(outcome, runtime_s=runtime_s)

    def running(self) -> Sequence[RunningJob]:
        return [self._running] if self._running else []

    def terminate_job(self, seq: int, signum: int) -> bool:
        return False

    def grow(self, n: int = 1) -> None:
        raise LackingCapability("the solo pool cannot grow", (), OTHERS)

    def shrink(self, n: int = 1) -> None:
        raise LackingCapability("the solo pool cannot shrink", (), OTHERS)

    def restart(self) -> None:
        """Nothing: there is no child."""

    def info(self) -> Mapping[str, Any]:
        return {
            "implementation": "bootsteps:solo",
            "max-concurrency": 1,
            "processes": [os.getpid()],
            "max-tasks-per-child": None,
            "put-guarded-by-semaphore": True,
            "timeouts": [],
        }
