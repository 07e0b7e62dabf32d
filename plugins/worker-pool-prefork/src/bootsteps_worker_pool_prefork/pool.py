"""Hands jobs to the children and outcomes to whoever submitted them."""

from __future__ import annotations

import heapq
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bootsteps import Hub, Job, Outcome, Runner, RunningJob, Timer, TimerEntry
from bootsteps_worker_pool_prefork.crew import Crew
from bootsteps_worker_pool_prefork.frames import LEAVING, OUTCOMES, READY, Frame, unpack_outcomes
from bootsteps_worker_pool_prefork.limits import Deadlines
from bootsteps_worker_pool_prefork.load import OVERDUE_S, RunTimes
from bootsteps_worker_pool_prefork.process import Child
from bootsteps_worker_pool_prefork.recycle import NEVER, Recycling

__all__ = ["CAPABILITIES", "PreforkPool"]

CAPABILITIES = frozenset({"terminate", "grow", "shrink", "hard_limit", "soft_limit", "max_tasks", "max_memory"})


class PreforkPool:
    """Implements the protocol `bootsteps.Pool` on child processes. Loop thread only."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        hub: Hub,
        timer: Timer,
        make_runner: Callable[[], Runner],
        concurrency: int,
        log: logging.Logger,
        announce: Callable[..., Any] = lambda hook, **facts: None,
        recycling: Recycling = NEVER,
    ) -> None:
        self._first_size = concurrency
        self._timer = timer
        self._announce = announce
        self._crew = Crew(hub, timer, make_runner, self, log, announce, recycling)
        self._recycling = recycling
        self._times = RunTimes()
        self._report: Callable[[Sequence[Outcome]], None] = lambda outcomes: None
        #: Jobs that no child has.
        self._backlog: deque[Job] = deque()
        self._closed = False
        #: Looks for children that are stuck, while jobs wait behind others.
        self._guard: TimerEntry | None = None
        self._deadlines = Deadlines(hub, timer, lambda: self._crew.everyone, self._end_late)

    @property
    def concurrency(self) -> int:
        return self._crew.size or self._first_size

    def start(self) -> None:
        """Fork the children. Does not wait until they are ready."""
        self._closed = False
        self._crew.start(self._first_size)

    def close(self) -> None:
        """Ask for no more jobs."""
        self._closed = True

    def idle(self) -> bool:
        """Tell whether every job that was submitted has been reported."""
        return not self._backlog and not any(child.load.jobs for child in self._crew.everyone)

    def stop(self, patience_s: float) -> None:
        """Finish what was submitted if it takes no longer than `patience_s`, then end every child."""
        self.close()
        self._crew.stop(lambda: not self.idle(), patience_s)
        self._forget()

    def terminate(self) -> None:
        """End every child at once; what runs is reported as lost."""
        self.close()
        self._backlog.clear()
        self._crew.terminate()
        self._forget()

    def _forget(self) -> None:
        self._backlog.clear()
        self._deadlines.stop()
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def connect(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> None:
        self._report = on_outcomes

    def free(self) -> int:
        if self._closed:
            return 0
        room = sum(child.load.room(self._times.typical) for child in self._crew.children if child.ready)
        return max(0, room - len(self._backlog))

    def submit(self, jobs: Sequence[Job]) -> None:
        self._backlog.extend(jobs)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give the oldest jobs to the children with least to do, until one must wait."""
        if not self._backlog:
            return
        given: dict[int, list[Job]] = {}
        children = {child.index: child for child in self._crew.children if child.ready}
        heap = [(child.load.rank, index) for index, child in children.items()]
        heapq.heapify(heap)
        now = time.monotonic()
        while self._backlog and heap:
            index, job = heap[0][1], self._backlog[0]
            load, expected = children[index].load, self._times.expected(job.kind)
            if not load.takes(expected):
                break  # jobs after it might fit, but then a long one could wait for ever
            load.add(self._backlog.popleft(), expected, now)
            given.setdefault(index, []).append(job)
            heapq.heapreplace(heap, (load.rank, index))
        for index, jobs in given.items():
            self._crew.give(children[index], jobs)
            self._deadlines.watch(jobs, now)
        self._keep_guard()

    def _keep_guard(self) -> None:
        """Look again soon, as long as jobs wait behind others."""
        if self._guard is None and any(child.load.queued for child in self._crew.children):
            self._guard = self._timer.call_after(OVERDUE_S, self._look)

    def _look(self) -> None:
        """Take back what waits behind a job that turned out long."""
        self._guard = None
        now = time.monotonic()
        for child in [child for child in self._crew.children if child.load.overdue(now)]:
            self._take_back(child)
        self._dispatch()
        self._keep_guard()

    def _take_back(self, child: Child) -> None:
        """Take from a child what it has not started, and give it nothing more before it reports."""
        child.load.stuck = True
        self._backlog.extendleft(reversed(child.take_back()))

    def on_frames(self, child: Child, frames: Sequence[Frame]) -> None:
        """Take outcomes off the child's load, give it more, then report them."""
        child.ready = child.ready or any(frame.kind == READY for frame in frames)
        outcomes = [o for frame in frames if frame.kind == OUTCOMES for o in unpack_outcomes(frame, child.pid)]
        for outcome in outcomes:
            job = child.load.remove(outcome.seq)
            if job is not None and outcome.lost is None:
                self._times.note(job.kind, outcome.runtime_s)
        child.load.reported(time.monotonic())
        child.reported += len(outcomes)
        if any(frame.kind == LEAVING for frame in frames):
            child.ready = False
            self._take_back(child)
        self._dispatch()
        if outcomes:
            self._report(outcomes)

    def on_end(self, child: Child, reason: str) -> None:
        """Hand on what a dead child did not start; the rest is lost."""
        self._take_back(child)
        running, now = child.running(), time.monotonic()
        outcomes = []
        for seq in list(child.load.jobs):
            child.load.remove(seq)
            late = child.timed_out.time_limit_s if child.timed_out is not None and child.timed_out.seq == seq else None
            if running is not None and running[0] == seq:
                ran = now - running[1]
                outcomes.append(Outcome(seq, lost=reason, runtime_s=ran, pid=child.pid, timed_out=late))
            elif late is not None:  # it ended while it was being killed, too late all the same
                outcomes.append(Outcome(seq, lost=reason, runtime_s=late, pid=child.pid, timed_out=late))
            else:
                outcomes.append(Outcome(seq, lost=f"{reason} before it reported this job", pid=child.pid))
        self._dispatch()
        if outcomes:
            self._report(outcomes)

    def running(self) -> Sequence[RunningJob]:
        found = [(child.pid, child.running()) for child in self._crew.everyone]
        return [RunningJob(job[0], pid, job[1]) for pid, job in found if job is not None]

    def terminate_job(self, seq: int, signum: int) -> bool:
        for child in self._crew.everyone:
            if _runs(child, seq):
                return self._terminate(child, seq, signum)
        return False

    def _terminate(self, child: Child, seq: int, signum: int) -> bool:
        self._take_back(child)  # now the signal can hit no other job than this one
        hit = _runs(child, seq)
        if hit:
            child.told = True
            child.kill(signum)
        self._dispatch()
        return hit

    def _end_late(self, child: Child, job: Job) -> None:
        """Kill a child whose job runs longer than its hard limit."""
        if child.timed_out is None and self._terminate(child, job.seq, signal.SIGKILL):
            child.timed_out = job

    def grow(self, n: int = 1) -> None:
        self._crew.grow(n)
        self._announce("pool_resized", size=self.concurrency)

    def shrink(self, n: int = 1) -> None:
        """Take `n` children away, idle ones first; busy ones finish their job. Raises ValueError if none would stay."""
        if n >= self._crew.size:
            raise ValueError(f"the pool has {self._crew.size} children and must keep one: it cannot shrink by {n}")
        for child in self._crew.shrink(n):
            self._take_back(child)
            child.dismiss()
        self._announce("pool_resized", size=self.concurrency)
        self._dispatch()

    def info(self) -> Mapping[str, Any]:
        children = self._crew.children
        return {
            "implementation": "bootsteps:prefork",
            "max-concurrency": self.concurrency,
            "processes": [child.pid for child in children],
            "max-tasks-per-child": self._recycling.jobs or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": [0, 0],
            "writes": _writes(children),
        }


def _runs(child: Child, seq: int) -> bool:
    running = child.running()
    return running is not None and running[0] == seq


def _writes(children: Sequence[Child]) -> Mapping[str, Any]:
    """Return how the jobs were spread, with Celery's keys: shares of the total as text."""
    given = [child.given for child in children]
    total = sum(given)
    shares = [count / total if total else 0.0 for count in given]
    return {
        "total": total,
        "avg": f"{sum(shares) / max(1, len(shares)):.2f}",
        "all": ", ".join(f"{share:.2f}" for share in shares),
        "raw": ", ".join(map(str, given)),
        "strategy": "fair",
        "inqueues": {"total": len(children), "active": sum(child.congested for child in children)},
    }
