"""Hands jobs to the threads and outcomes to whoever submitted them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty
from typing import Any

from bootsteps import Hub, Job, Outcome, Runner, RunningJob
from bootsteps_worker_pool_threads.step import CAPABILITIES
from bootsteps_worker_pool_threads.thread import WAKE, Death, Desk, WorkerThread
from bootsteps_worker_pool_threads.times import WINDOW_S, RunTimes

__all__ = ["ThreadPool"]

#: The second runner in a row that cannot start waits so long before the third try, then twice as long each time.
PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
#: How long an idle thread may take to end.
LEAVE_S = 1.0


class ThreadPool:
    """Implements the protocol `bootsteps.Pool` on threads with one queue. Loop thread only."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        hub: Hub,
        make_runner: Callable[[], Runner],
        concurrency: int,
        log: logging.Logger,
        announce: Callable[..., Any] = lambda hook, **facts: None,
    ) -> None:
        self._hub, self._make_runner, self._log, self._announce = hub, make_runner, log, announce
        self._first_size = concurrency
        self._size = 0
        self._times = RunTimes()
        self._report: Callable[[Sequence[Outcome]], None] = lambda outcomes: None
        #: Submitted and not reported.
        self._jobs: dict[int, Job] = {}
        self._closed = False
        self._desk = self._new_desk()
        #: Those that work and those that sit out: `_size` of them work, or soon will.
        self._threads: list[WorkerThread] = []

    def _new_desk(self) -> Desk:
        return Desk(self._hub, self._make_runner, self._times.expected, self._on_events)

    @property
    def concurrency(self) -> int:
        return self._size or self._first_size

    def start(self) -> None:
        """Start the threads. Does not wait until they are ready."""
        self._closed = False
        self._desk = self._new_desk()
        self._resize(self._first_size)

    def close(self) -> None:
        """Ask for no more jobs."""
        self._closed = True

    def idle(self) -> bool:
        """Tell whether every job that was submitted has been reported."""
        return not self._jobs

    def stop(self, patience_s: float) -> None:
        """Finish what was submitted if it takes no longer than `patience_s`, then end every thread."""
        self.close()
        ends = time.monotonic() + patience_s
        while self._jobs and (left := ends - time.monotonic()) > 0:
            try:
                self._settle(self._desk.heard(left))
            except Exception:  # of whoever hears the outcomes; the threads are to be ended all the same
                self._log.exception("outcomes could not be settled while the pool stops")
        self.terminate()

    def terminate(self) -> None:
        """End the pool at once: what runs is reported as lost, and its threads are left to the end of the process."""
        self.close()
        desk, threads = self._desk, self._threads
        if desk.ended.is_set():
            return  # to empty the queue again would take away what wakes the idle ones
        desk.forget_jobs()
        outcomes = self._outcomes(desk.heard())
        lost = [job for thread in threads for job in list(thread.taken) if job.seq in self._jobs]
        desk.abandoned = desk.abandoned or bool(lost)
        desk.end(len(threads))
        outcomes += [self._lost(job, "the worker ended while a thread was running it") for job in lost]
        self._threads, self._size = [], 0
        self._jobs.clear()
        self._join(threads, patient=not lost)
        if outcomes:
            self._report(outcomes)

    def _join(self, threads: Sequence[WorkerThread], *, patient: bool) -> None:
        ends = time.monotonic() + (LEAVE_S if patient else 0.0)
        for thread in threads:
            thread.thread.join(max(0.0, ends - time.monotonic()))
        busy = [thread.thread.name for thread in threads if thread.thread.is_alive()]
        if busy and patient:
            self._log.warning("threads that do not end: %s", ", ".join(busy))

    def connect(self, on_outcomes: Callable[[Sequence[Outcome]], None]) -> None:
        self._report = on_outcomes

    def free(self) -> int:
        if self._closed:
            return 0
        soon = time.monotonic() - WINDOW_S
        ready = [thread.running for thread in self._threads if thread.ready]
        quick = sum(running is None or running.started > soon for running in ready)
        size = min(self._size, len(ready))
        return max(0, size + self._times.waiting(min(size, quick)) - len(self._jobs))

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._jobs[job.seq] = job
            self._desk.jobs.put(job)

    def _on_events(self, desk: Desk) -> None:
        self._settle(desk.heard())

    def _settle(self, events: Sequence[list[Outcome] | Death]) -> None:
        """Note everything first, then report once: whoever hears it may raise."""
        outcomes = self._outcomes(events)
        if outcomes:
            self._report(outcomes)

    def _outcomes(self, events: Sequence[list[Outcome] | Death]) -> list[Outcome]:
        """Return those of jobs that are still ours; replace the threads that died."""
        found: list[Outcome] = []
        for event in events:
            told = self._on_death(event) if isinstance(event, Death) else event
            for outcome in told:
                job = self._jobs.pop(outcome.seq, None)
                if job is None:
                    continue
                if outcome.lost is None:
                    self._times.note(job.kind, outcome.runtime_s)
                found.append(outcome)
        return found

    def _on_death(self, death: Death) -> list[Outcome]:
        """Put another thread in its place; what it had is lost."""
        dead, error = death.thread, death.error
        reason = f"thread {dead.thread.name} died of {type(error).__name__}: {error}"
        if dead.ready:
            self._log.error("%s", reason, exc_info=error)
        else:
            self._log.error("thread %s could not start its runner", dead.thread.name, exc_info=error)
        if dead in self._threads and not self._desk.ended.is_set():
            failures = 0 if dead.ready else dead.failures + 1
            pause = min(PAUSE_S * 2 ** (failures - 2), LONGEST_PAUSE_S) if failures > 1 else 0.0
            fresh = WorkerThread(self._desk, dead.index, failures, pause)
            self._threads[self._threads.index(dead)] = fresh
            fresh.start()
        return [self._lost(job, reason) for job in dead.taken]

    def _lost(self, job: Job, reason: str) -> Outcome:
        return Outcome(job.seq, lost=reason, pid=os.getpid())

    def running(self) -> Sequence[RunningJob]:
        found = [thread.running for thread in self._threads]
        return sorted((job for job in found if job is not None), key=lambda job: job.started)

    def terminate_job(self, seq: int, signum: int) -> bool:
        """False: a signal would hit the whole worker."""
        return False

    def grow(self, n: int = 1) -> None:
        if not self._size:
            self._first_size += n
            return
        self._resize(self._size + n)
        self._announce("pool_resized", size=self.concurrency)

    def shrink(self, n: int = 1) -> None:
        """Take `n` threads away, idle ones first; busy ones finish their job. Raises ValueError if none would stay."""
        if n >= self.concurrency:
            raise ValueError(f"the pool has {self.concurrency} threads and must keep one: it cannot shrink by {n}")
        if not self._size:
            self._first_size -= n
            return
        self._resize(self._size - n)
        self._announce("pool_resized", size=self.concurrency)

    def _resize(self, size: int) -> None:
        desk = self._desk
        for _ in range(self._size - size):
            desk.leave.put(None)
            desk.jobs.put(WAKE)  # wakes an idle one; a busy one looks when it has finished its job
        for _ in range(min(size, len(self._threads)) - self._size):
            self._call_back()
        for index in range(len(self._threads), size):
            thread = WorkerThread(desk, index)
            self._threads.append(thread)
            thread.start()
        self._size = size

    def _call_back(self) -> None:
        """Let one thread fewer leave, or work again if it has left."""
        try:
            self._desk.leave.get_nowait()
        except Empty:
            self._desk.bench.put(True)

    def restart(self) -> None:
        """Nothing: a thread has no code of its own."""

    def info(self) -> Mapping[str, Any]:
        return {
            "implementation": "bootsteps:threads",
            "max-concurrency": self.concurrency,
            "threads": self._size,
        }
