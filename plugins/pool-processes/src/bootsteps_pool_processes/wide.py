"""A pool whose children run many jobs at one time, each job as something that can be cancelled."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from bootsteps import Job
from bootsteps_pool_processes.load import WideLoad
from bootsteps_pool_processes.pool import ProcessPool
from bootsteps_pool_processes.process import Child

__all__ = ["CHILD_MOST", "ConcurrentPool"]

#: A child runs so many jobs at most: the pipe of its claims holds 8,192 numbers.
CHILD_MOST = 8000
#: A job that does not end so long after it was told to costs its child the life.
STUBBORN_S = 0.4


class ConcurrentPool(ProcessPool):
    """The same pool where a child runs a share of the concurrency. Growing and shrinking change the shares."""

    def __init__(self, *args: Any, places: int, **kwargs: Any) -> None:
        """Like `ProcessPool`, whose `concurrency` is the number of children; `places` is that of jobs at one time."""
        super().__init__(*args, **kwargs)
        self._places = places

    @property
    def concurrency(self) -> int:
        return self._places

    def _ready(self) -> list[Child]:
        children = super()._ready()
        shares = divmod(self._places, self._crew.size or 1)
        for number, child in enumerate(sorted(children, key=lambda child: child.index)):
            assert isinstance(child.load, WideLoad)
            child.load.width = shares[0] + (number < shares[1])
        return children

    def _terminate(self, child: Child, seq: int, signum: int) -> bool:
        """Let the child cancel the job, whatever the signal."""
        self._cancel(child, [seq])
        return True

    def _end_late(self, child: Child, jobs: Sequence[Job]) -> None:
        child.timed_out |= {job.seq: job for job in jobs}
        self._cancel(child, [job.seq for job in jobs])

    def _cancel(self, child: Child, seqs: Sequence[int]) -> None:
        """Tell the child to end these, and look soon whether it did."""
        self._crew.end_jobs(child, seqs)
        self._timer.call_after(STUBBORN_S, self._end_stubborn, (child, seqs))

    def _end_stubborn(self, child: Child, seqs: Sequence[int]) -> None:
        """Kill a child that did not end these: it hangs in one of its jobs, or they refuse. Its others are lost."""
        if child.closed or not any(seq in child.load.jobs for seq in seqs):
            return
        self._take_back(child)  # what it has not started is no job of its
        for seq in child.timed_out.keys() - child.load.jobs.keys():
            del child.timed_out[seq]
        child.told = True
        child.blame = f"child {child.pid} was killed, since a job that was to end in it did not"
        self._log.warning("%s; with it run %d jobs", child.blame, len(child.load.jobs))
        child.kill(signal.SIGKILL)
        self._dispatch()

    def grow(self, n: int = 1) -> None:
        """Let `n` more jobs run at one time. Raises ValueError if the children cannot."""
        most = CHILD_MOST * max(1, self._crew.size)
        if self._places + n > most:
            raise ValueError(f"the pool runs {self._places} jobs at one time and at most {most}: it cannot grow by {n}")
        self._resize(self._places + n)

    def shrink(self, n: int = 1) -> None:
        """Let `n` fewer jobs run at one time; what runs is finished. Raises ValueError if none could."""
        if n >= self._places:
            raise ValueError(f"the pool runs {self._places} jobs at one time and must run one: it cannot shrink by {n}")
        self._resize(self._places - n)

    def _resize(self, places: int) -> None:
        self._places = places
        self._announce("pool_resized", size=places)
        self._dispatch()

    def info(self) -> Mapping[str, Any]:
        running = len(self.running())
        return {**super().info(), "running-threads": running, "free-threads": max(0, self._places - running)}
