"""Time limits: the soft one by a timer in the child, the hard one by the pool."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bootsteps import Job, Runner, Timer, TimerEntry

if TYPE_CHECKING:
    from bootsteps_pool_processes.process import Child

__all__ = ["LONGEST_S", "Deadlines", "capped", "run_limited"]

#: No timer is set for later than this: three years, while timers overflow at numbers that a message can hold.
LONGEST_S = 1e8


def capped(limit_s: float | None) -> float:
    """Return the limit as a number that every timer takes; 0 = none."""
    return float(min(limit_s or 0.0, LONGEST_S))


def run_limited(runner: Runner, payload: bytes, limit_s: float) -> bytes:
    """Run a job and interrupt it once, after so many seconds. Main thread of a child only.

    The timer is the child's own, not a signal from the pool: it needs no awake parent and cannot hit the next job.
    """
    interrupt: Callable[[float], None] = getattr(runner, "interrupt", _raise)
    running = True

    def on_alarm(signum: int, frame: Any) -> None:
        if running:
            interrupt(limit_s)

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        return runner.run(payload)
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        # this handles first an alarm that came at the last moment; None = the handler is no Python function
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def _raise(limit_s: float) -> None:
    raise TimeoutError(f"the soft time limit of {limit_s:g} s is over")


class Deadlines:
    """Finds the jobs that run longer than their hard limit. Loop thread only.

    Nobody tells the pool when a job starts, so one timer entry waits for the first moment at which a job could be over
    its limit; what runs then, and since when, is read from the children's slots.
    """

    def __init__(
        self, timer: Timer, children: Callable[[], Iterable[Child]], end: Callable[[Child, list[Job]], None]
    ) -> None:
        self._timer, self._children, self._end = timer, children, end
        self._entry: TimerEntry | None = None
        #: When it is due (monotonic seconds).
        self._due = 0.0

    def watch(self, jobs: Iterable[Job], now: float) -> None:
        """Take into account that these were given to a child."""
        limits = [capped(job.time_limit_s) for job in jobs if job.time_limit_s]
        if limits:
            self._look_at(now + min(limits), now)

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def _look_at(self, due: float, now: float) -> None:
        if self._entry is None or due < self._due:
            self.stop()
            self._due = due
            self._entry = self._timer.call_after(max(0.0, due - now), self._look)

    def _look(self) -> None:
        """End what is over its limit, and look again when the next one could be."""
        self._entry = None
        now = time.monotonic()
        for child in list(self._children()):
            runs = child.runs()
            limited = [job for job, _ in child.load.jobs.values() if job.time_limit_s]
            due = [(capped(job.time_limit_s) + runs.get(job.seq, now), job) for job in limited]
            late = [job for moment, job in due if moment <= now and job.seq not in child.timed_out]
            if late:
                self._end(child, late)
            rest = [moment for moment, job in due if moment > now and job.seq in child.load.jobs]
            if rest and (not child.timed_out or not child.single):
                self._look_at(min(rest), now)
