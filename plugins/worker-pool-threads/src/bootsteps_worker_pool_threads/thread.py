"""What a thread of the pool does: take the next job, run it, report in batches."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import call
from queue import Empty, SimpleQueue

from bootsteps import Hub, Job, Outcome, Runner, RunningJob

__all__ = ["WAKE", "Death", "Desk", "WorkerThread"]

#: A finished job waits at most so long for others before it is reported (unless the one after it, against all
#: measurements, runs longer).
REPORT_AFTER_S = 0.002
#: And for at most so many others.
REPORT_MOST = 32
#: Wakes a thread to look whether it should leave or end.
WAKE = Job(-1, b"")


@dataclass(frozen=True, slots=True)
class Death:
    """A thread ended that nobody told to."""

    thread: WorkerThread
    error: BaseException


class Desk:
    """What the threads of one start of the pool share with the loop thread."""

    def __init__(
        self,
        hub: Hub,
        make_runner: Callable[[], Runner],
        expected: Callable[[str], float],
        on_events: Callable[[Desk], None],
    ) -> None:
        self._hub = hub
        self._on_events = on_events
        self._rung = False
        self.make_runner = make_runner
        #: Seconds that a job of this kind probably runs.
        self.expected = expected
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.events: SimpleQueue[list[Outcome] | Death] = SimpleQueue()
        #: A ticket for each thread that is one too many.
        self.leave: SimpleQueue[None] = SimpleQueue()
        #: Where those that took one wait; True = work again, False = end.
        self.bench: SimpleQueue[bool] = SimpleQueue()
        self.ended = threading.Event()
        #: Some threads could not be waited for: nothing that they share may be closed, nothing more is reported.
        self.abandoned = False
        #: Runners start and stop one at a time: what they take and release belongs to the whole process.
        self.one_at_a_time = threading.Lock()

    def tell(self, event: list[Outcome] | Death) -> None:
        """Hand over to the loop thread. Any thread."""
        self.events.put(event)
        # The flag is cleared before the queue is read, so what is put before the flag is looked at is read in time.
        # A thread that dies in between leaves it set; its own end rings all the same.
        if not self._rung or isinstance(event, Death):
            self._rung = True
            self._hub.call_soon(self._on_events, self)

    def heard(self, timeout: float = 0.0) -> list[list[Outcome] | Death]:
        """Return what was told; wait so many seconds when there is nothing. Loop thread."""
        self._rung = False
        found: list[list[Outcome] | Death] = []
        try:
            if timeout > 0:
                found.append(self.events.get(timeout=timeout))
            while True:
                found.append(self.events.get_nowait())
        except Empty:
            return found

    def forget_jobs(self) -> None:
        """Empty the queue."""
        try:
            while True:
                self.jobs.get_nowait()
        except Empty:
            return

    def end(self, threads: int) -> None:
        """Wake so many threads to end."""
        self.ended.set()
        for _ in range(threads):
            self.jobs.put(WAKE)
            self.bench.put(False)


class WorkerThread:
    """A daemon thread with a runner of its own: one that hangs does not hold up the end of the process."""

    def __init__(self, desk: Desk, index: int, failures: int = 0, pause_s: float = 0.0) -> None:
        self._desk = desk
        self.index = index
        #: How many before it, in a row, could not start their runner.
        self.failures = failures
        self._pause_s = pause_s
        self._pid = os.getpid()
        #: The jobs that are not the queue's any more, and not reported.
        self.taken: list[Job] = []
        #: The first of these, when they are finished.
        self._done: list[Outcome] = []
        #: When the first of them was finished (monotonic seconds).
        self._since = 0.0
        self.running: RunningJob | None = None
        #: The runner has started.
        self.ready = False
        self.thread = threading.Thread(target=self._main, name=f"PoolThread-{index + 1}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def _main(self) -> None:
        try:
            if self._desk.ended.wait(self._pause_s):
                return
            self._serve()
        except BaseException as exc:  # also what another thread raised in this one
            self._desk.tell(Death(self, exc))

    def _serve(self) -> None:
        desk = self._desk
        with desk.one_at_a_time:
            runner = desk.make_runner()
            runner.start()
        self.ready = True
        try:
            while not desk.ended.is_set():
                self._turn(runner)
            self._report(runner)
        finally:
            if not desk.abandoned:
                with desk.one_at_a_time:
                    runner.stop()

    def _turn(self, runner: Runner) -> None:
        if not self._desk.leave.empty():
            self._report(runner)
            self._sit_out()
            return
        job = self._take()
        if job is None or not self._may_wait(job):
            self._report(runner)
        if job is not None:
            self._run(runner, job)

    def _sit_out(self) -> None:
        """Do nothing until the pool grows again or ends.

        The thread stays, since stopping its runner would close what the runners of the others use.
        """
        try:
            self._desk.leave.get_nowait()
        except Empty:
            return  # another one left
        self._desk.bench.get()

    def _take(self) -> Job | None:
        """Return the next job; None when there is nothing and something to report, or when woken."""
        jobs = self._desk.jobs
        try:
            # One call in C from the queue to the list: an exception that is raised from outside while the thread waits
            # (as libraries for timeouts do) cannot come between the two, and the job is always somebody's.
            self.taken.extend(map(call, (jobs.get_nowait if self._done else jobs.get,)))
        except Empty:
            return None
        if self.taken[-1] is WAKE:
            self.taken.pop()
            return None
        return self.taken[-1]

    def _may_wait(self, job: Job) -> bool:
        """Tell whether what is done may wait until this job is, too."""
        if len(self._done) >= REPORT_MOST:
            return False
        return time.monotonic() - self._since + self._desk.expected(job.kind) <= REPORT_AFTER_S

    def _run(self, runner: Runner, job: Job) -> None:
        started = time.monotonic()
        self.running = RunningJob(job.seq, self._pid, started)
        try:
            outcome = Outcome(job.seq, runner.run(job.payload), pid=self._pid)
        except BaseException as exc:  # whatever a task lets out: the thread lives on
            outcome = Outcome(job.seq, lost=_reason("the runner raised", exc), pid=self._pid)
        self.running = None
        now = time.monotonic()
        if not self._done:
            self._since = now
        self._done.append(replace(outcome, runtime_s=now - started))

    def _report(self, runner: Runner) -> None:
        """Make durable what was run, then tell the loop thread."""
        if not self._done or self._desk.abandoned:
            return
        done, self._done = self._done, []
        try:
            runner.flush()
        except BaseException as exc:
            reason = _reason("the results could not be stored:", exc)
            done = [replace(outcome, payload=b"", lost=reason) for outcome in done]
        self._desk.tell(done)
        del self.taken[: len(done)]


def _reason(what: str, exc: BaseException) -> str:
    return f"{what} {type(exc).__name__}: {exc}"
