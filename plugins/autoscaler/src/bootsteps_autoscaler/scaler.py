"""How many children the pool is to have. Celery's `Autoscaler`, for subclasses too, without its thread."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any

from bootsteps import REQUESTS, KernelError, Pool, WorkerView
from bootsteps_autoscaler.keys import KEEPALIVE_S

__all__ = ["Autoscaler"]

log = logging.getLogger("worker.Autoscaler")


class Autoscaler:
    """Grows the pool when more is to be run than it has children, and takes away those that idled for `keepalive`.

    A subclass overrides `_maybe_scale` (return True when something was done), `qty`, or what else it likes, and is
    named by `worker_autoscaler`. Loop thread only.
    """

    def __init__(
        self,
        pool: Pool,
        max_concurrency: int,
        min_concurrency: int = 0,
        worker: WorkerView | None = None,
        keepalive: float = KEEPALIVE_S,
        mutex: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.pool = pool
        self.max_concurrency = max_concurrency
        self.min_concurrency = min_concurrency
        self.worker = worker
        #: Seconds.
        self.keepalive = keepalive
        #: Nothing to guard against: one thread scales.
        self.mutex: AbstractContextManager[Any] = mutex or nullcontext()
        #: Since when the most that was needed is counted, and that.
        self._since = monotonic()
        self._peak = 0

    @property
    def qty(self) -> int:
        """How many tasks run or could run now."""
        return 0 if self.worker is None else self.worker.get(REQUESTS).outstanding()

    @property
    def processes(self) -> int:
        """How many children the pool has: with `asyncio` and greenlets, how many tasks run at one time."""
        return self.pool.concurrency

    def maybe_scale(self, req: Any = None) -> None:
        """Look, and grow or shrink. Called every second and less."""
        with self.mutex:
            self._maybe_scale(req)

    def _maybe_scale(self, req: Any = None) -> bool | None:
        processes, needed = self.processes, min(self.qty, self.max_concurrency)
        self._peak = max(self._peak, needed)
        if needed > processes:
            self.scale_up(needed - processes)
            return True
        if needed == processes:
            self._start_count()
        spare = processes - max(needed, self.min_concurrency, 1)
        if spare > 0:
            return bool(self.scale_down(spare))
        return None

    def _start_count(self) -> None:
        self._since, self._peak = monotonic(), 0

    def scale_up(self, n: int) -> None:
        """Add `n` children."""
        self._start_count()
        self._grow(n)

    def scale_down(self, n: int) -> bool:
        """Take away up to `n` children, if so many idled for `keepalive`; tell whether any went."""
        if monotonic() - self._since <= self.keepalive:
            return False
        spare = min(n, self.processes - max(self._peak, 1))
        self._start_count()
        return spare > 0 and self._shrink(spare)

    def update(self, max: Any = None, min: Any = None) -> tuple[int, int]:
        """Set another range, and return it. Raises `KernelError` for one that cannot be."""
        most = self.max_concurrency if max is None else max
        least = self.min_concurrency if min is None else min
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (most, least))
        if not whole or not 0 <= least <= most or not most:
            raise KernelError(
                f"a pool cannot have at most {most!r} and at least {least!r} children", (), "max=10 min=3"
            )
        with self.mutex:
            self.max_concurrency, self.min_concurrency = most, least
            if self.processes > most:
                self._shrink(self.processes - most)
            if self.processes < least:
                self._grow(least - self.processes)
        return most, least

    def force_scale_up(self, n: int) -> None:
        """Add `n` children now, beyond the range if need be: that is widened."""
        self.max_concurrency = max(self.max_concurrency, self.processes + n)
        self.scale_up(n)

    def force_scale_down(self, n: int) -> None:
        """Take `n` children away now, below the range if need be; busy ones finish their task."""
        self.min_concurrency = max(0, min(self.min_concurrency, self.processes - n))
        self._shrink(min(n, self.processes - 1))

    def fit(self) -> None:
        """Have as many children as the range allows, before anything is known of the work."""
        wanted = max(self.min_concurrency, 1)
        if self.processes < wanted:
            self.pool.grow(wanted - self.processes)
        elif self.processes > wanted:
            self.pool.shrink(self.processes - wanted)

    def _grow(self, n: int) -> None:
        log.info("Scaling up %s processes.", n)
        self.pool.grow(n)

    def _shrink(self, n: int) -> bool:
        """Idle children go at once. One that is busy would finish its task, and come back when work waits."""
        if n < 1:
            return False
        log.info("Scaling down %s processes.", n)
        try:
            self.pool.shrink(n)
        except ValueError as exc:
            log.debug("not scaled down: %s", exc)
            return False
        return True

    def info(self) -> dict[str, Any]:
        """Facts for `inspect stats`."""
        return {
            "max": self.max_concurrency,
            "min": self.min_concurrency,
            "current": self.processes,
            "qty": self.qty,
        }
