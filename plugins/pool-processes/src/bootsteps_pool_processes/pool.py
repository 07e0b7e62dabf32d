"""Hands jobs to the children and outcomes to whoever submitted them."""

from __future__ import annotations

import heapq
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bootsteps import Hub, Job, Outcome, Runner, RunningJob, Timer, TimerEntry
from bootsteps_pool_processes.crew import Crew
from bootsteps_pool_processes.frames import LEAVING, OUTCOMES, READY, Frame, unpack_outcomes
from bootsteps_pool_processes.limits import Deadlines
from bootsteps_pool_processes.load import OVERDUE_S, RunTimes
from bootsteps_pool_processes.nature import Nature
from bootsteps_pool_processes.process import Child
from bootsteps_pool_processes.recycle import LOOK_S, NEVER, Recycling, used_by
from bootsteps_pool_processes.serial import serial
from bootsteps_pool_processes.spare import Spare

__all__ = ["ProcessPool"]

#: One job at a time in forked children.
FORKED = Nature("prefork", serial)


class ProcessPool:
    """Implements the protocol `bootsteps.Pool` on child processes. Loop thread only."""

    def __init__(
        self,
        hub: Hub,
        timer: Timer,
        make_runner: Callable[[], Runner],
        concurrency: int,
        log: logging.Logger,
        announce: Callable[..., Any] = lambda hook, **facts: None,
        recycling: Recycling = NEVER,
        nature: Nature = FORKED,
        limits: tuple[float | None, float | None] = (None, None),
    ) -> None:
        """`limits` are the worker's soft and hard limit for all tasks, for `info` only."""
        self._nature, self._limits = nature, limits
        self.capabilities = nature.capabilities
        self._first_size = concurrency
        self._timer = timer
        self._announce, self._log = announce, log
        self._crew = Crew(hub, timer, nature, make_runner, self, log, announce, recycling)
        self._recycling = recycling
        self._times = RunTimes()
        self._report: Callable[[Sequence[Outcome]], None] = lambda outcomes: None
        #: Jobs that no child has.
        self._backlog: deque[Job] = deque()
        self._closed = False
        #: Looks for children that are stuck, while jobs wait behind others.
        self._guard: TimerEntry | None = None
        self._memory_guard: TimerEntry | None = None
        self._spare = Spare(timer)
        self._deadlines = Deadlines(timer, lambda: self._crew.everyone, self._end_late)

    @property
    def concurrency(self) -> int:
        return self._crew.size or self._first_size

    def start(self) -> None:
        """Fork the children. Does not wait until they are ready."""
        self._closed = False
        self._crew.start(self._first_size)
        if self._recycling.hard_memory_kib is not None:
            self._memory_guard = self._timer.call_repeatedly(LOOK_S, self._weigh)

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

    def _weigh(self) -> None:
        """Kill the children that use more memory than they ever may; what runs there is lost."""
        most = self._recycling.hard_memory_kib
        for child in self._crew.everyone:
            used = used_by(child.pid)
            if used is not None and most is not None and used > most and not child.told:
                self._take_back(child)
                child.blame = f"child {child.pid} was killed: it used {used} KiB of memory, and {most} are allowed"
                child.kill(signal.SIGKILL)

    def _forget(self) -> None:
        if self._memory_guard is not None:
            self._memory_guard.cancel()
            self._memory_guard = None
        self._backlog.clear()
        self._deadlines.stop()
        self._spare.stop()
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def connect(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> None:
        self._report = on_outcomes

    def free(self) -> int:
        if self._closed:
            return 0
        typical, room = self._times.typical, -len(self._backlog)
        for child in self._ready():
            room += child.load.room(typical)
        return max(0, room)

    def submit(self, jobs: Sequence[Job]) -> None:
        self._backlog.extend(jobs)
        self._dispatch()

    def withdraw(self, most: int, may: Callable[[int], bool]) -> list[int]:
        """Forget the newest jobs that no child has, so many at most and those only that `may(seq)`; oldest first."""
        chosen: list[int] = []
        for job in reversed(self._backlog):
            if len(chosen) >= most:
                break
            if may(job.seq):
                chosen.append(job.seq)
        if chosen:
            gone = set(chosen)
            self._backlog = deque(job for job in self._backlog if job.seq not in gone)
        return chosen[::-1]

    def _ready(self) -> list[Child]:
        """Return the children that can be given jobs."""
        return [child for child in self._crew.children if child.ready]

    def _dispatch(self) -> None:
        """Give the oldest jobs to the children with least to do, until one must wait."""
        if not self._backlog:
            return
        given: dict[int, list[Job]] = {}
        children = {child.index: child for child in self._ready()}
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

    def on_frames(self, child: Child, frames: Sequence[Frame[bytes]]) -> None:
        """Take outcomes off the child's load, give it more, then report them."""
        child.ready = child.ready or (not child.dismissed and any(frame.kind == READY for frame in frames))
        outcomes = [o for frame in frames if frame.kind == OUTCOMES for o in unpack_outcomes(frame, child.pid)]
        for outcome in outcomes:
            job = child.load.remove(outcome.seq)
            if job is not None and outcome.lost is None:
                self._times.note(job.kind, outcome.runtime_s)
        if child.timed_out:
            outcomes = [_timed_out(child, outcome) for outcome in outcomes]
        child.load.reported(time.monotonic())
        child.reported += len(outcomes)
        self._spare.note(len(outcomes))
        if any(frame.kind == LEAVING for frame in frames):
            child.ready = False
            self._take_back(child)
        self._dispatch()
        if outcomes:
            self._report(outcomes)

    def on_end(self, child: Child, reason: str) -> None:
        """Hand on what a dead child did not start; the rest is lost."""
        self._take_back(child)
        runs, now = dict(child.runs()), time.monotonic()
        outcomes = []
        for seq in list(child.load.jobs):
            child.load.remove(seq)
            late = child.timed_out[seq].time_limit_s if seq in child.timed_out else None
            if seq in runs:
                outcomes.append(Outcome(seq, lost=reason, runtime_s=now - runs[seq], pid=child.pid, timed_out=late))
            elif late is not None:  # it ended while it was being killed, too late all the same
                outcomes.append(Outcome(seq, lost=reason, runtime_s=late, pid=child.pid, timed_out=late))
            else:
                outcomes.append(Outcome(seq, lost=f"{reason} before it reported this job", pid=child.pid))
        self._dispatch()
        if outcomes:
            self._report(outcomes)

    def running(self) -> Sequence[RunningJob]:
        found = [(child.pid, child.runs()) for child in self._crew.everyone]
        return [RunningJob(seq, pid, started) for pid, runs in found for seq, started in runs.items()]

    def complaints(self) -> Sequence[str]:
        """Say what keeps the pool from its work: no child is ready, or one ends not though it should."""
        found = [] if self._closed or self._ready() else [f"no child of {self._crew.size} is ready"]
        for child in self._crew.everyone:
            found += [f"child {child.pid} runs job {seq} beyond its hard limit" for seq in child.timed_out]
        return found

    def terminate_job(self, seq: int, signum: int) -> bool:
        for child in self._crew.everyone:
            if seq in child.runs():
                return self._terminate(child, seq, signum)
        return False

    def _terminate(self, child: Child, seq: int, signum: int) -> bool:
        self._take_back(child)  # now the signal can hit no other job than this one
        hit = seq in child.runs()
        if hit:
            child.told = True
            child.kill(signum)
        self._dispatch()
        return hit

    def _end_late(self, child: Child, jobs: Sequence[Job]) -> None:
        """Kill a child whose job runs longer than its hard limit."""
        for job in jobs:
            if not child.timed_out and self._terminate(child, job.seq, signal.SIGKILL):
                child.timed_out[job.seq] = job

    def grow(self, n: int = 1) -> None:
        """Add `n` children."""
        if not self._crew.size:
            self._first_size += n
            return
        self._crew.grow(n)
        self._announce("pool_resized", size=self.concurrency)

    def shrink(self, n: int = 1) -> None:
        """Take `n` children away, idle ones first; busy ones finish their job. Raises ValueError if none would stay."""
        if n >= self.concurrency:
            raise ValueError(f"the pool has {self.concurrency} children and must keep one: it cannot shrink by {n}")
        if not self._crew.size:
            self._first_size -= n
            return
        for child in self._crew.shrink(n):
            self._take_back(child)
            child.dismiss()
        self._announce("pool_resized", size=self.concurrency)
        self._dispatch()

    def restart(self) -> None:
        """Replace every child when it has finished what it runs; a replacement has its predecessor's place."""
        for child in self._crew.dismiss():
            child.ready = False
            self._take_back(child)
            child.dismiss()
        self._dispatch()

    def info(self) -> Mapping[str, Any]:
        children = self._crew.children
        return {
            "implementation": f"bootsteps:{self._nature.pool}",
            "max-concurrency": self.concurrency,
            "processes": [child.pid for child in children],
            "max-tasks-per-child": self._recycling.jobs or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": [limit or 0 for limit in self._limits],
            "writes": _writes(children),
        }


def _timed_out(child: Child, outcome: Outcome) -> Outcome:
    """Return the outcome with the limit at which the pool ended the job, if it did."""
    job = child.timed_out.pop(outcome.seq, None)
    return outcome if job is None or outcome.lost is None else replace(outcome, timed_out=job.time_limit_s)


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
