"""What can be done to tasks from outside while the worker runs: revoke, terminate, change their limits."""

from __future__ import annotations

import logging
import signal as signals
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bootsteps import KernelError, Pool, Timer
from bootsteps_consumer_tasks.ledger import Ledger, Request, State
from bootsteps_consumer_tasks.limits import seconds
from bootsteps_consumer_tasks.rates import Buckets, per_second
from bootsteps_consumer_tasks.revoked import Revoked, Stamps, stamped

if TYPE_CHECKING:
    from bootsteps_tasks import App, Task

__all__ = ["TaskControl", "signal_number"]

log = logging.getLogger("worker.Requests")
#: Seconds between attempts to terminate a task that the pool has and has not started yet.
RETRY_S = 0.05


def signal_number(name: str | int) -> int:
    """Return the number of a signal: `SIGTERM`, `term` or 15. Raises `KernelError`."""
    number: Any = None
    if isinstance(name, int) and not isinstance(name, bool):
        number = name
    elif str(name).isdecimal():
        number = int(name)
    else:
        word = str(name).upper()
        number = getattr(signals, word if word.startswith("SIG") else f"SIG{word}", None)
    try:
        return int(signals.Signals(number))
    except (ValueError, TypeError):
        raise KernelError(f"there is no signal {name!r}", (), "a name such as SIGTERM or KILL, or a number") from None


class TaskControl:
    """Changes what becomes of tasks. Loop thread only; lent in the worker, so it outlives connections."""

    def __init__(self, app: App, ledger: Ledger, revoked: Revoked, buckets: Buckets, pool: Pool, timer: Timer) -> None:
        self._app = app
        self._ledger = ledger
        self._revoked = revoked
        self._buckets = buckets
        self._pool = pool
        self._timer = timer

    def revoke(self, ids: Iterable[str], terminate: bool = False, signal: str | int = "SIGTERM") -> list[str]:
        """Let these tasks not run; with `terminate` end also those that run. Returns the ids that are terminated.

        Raises `KernelError` for an unknown signal (nothing is revoked then) and, after the ids are revoked, when one of
        them runs and the pool cannot terminate.
        """
        signum = signal_number(signal) if terminate else 0
        wanted = list(ids)
        for task_id in wanted:
            self._revoked.add(task_id)
        found = [request for task_id in wanted if (request := self._ledger.find(task_id)) is not None]
        log.info("Tasks flagged as revoked: %s", ", ".join(wanted))
        return self._end(found, terminate, signum)

    def revoke_by_stamps(
        self, stamps: Mapping[str, Iterable[str]], terminate: bool = False, signal: str | int = "SIGTERM"
    ) -> list[str]:
        """Revoke every task whose stamps hold one of these values. Raises as `revoke`."""
        signum = signal_number(signal) if terminate else 0
        wanted: Stamps = {name: set(values) for name, values in stamps.items()}
        self._revoked.add_stamps(wanted)
        log.info("Tasks flagged as revoked by stamps: %s", {name: sorted(values) for name, values in wanted.items()})
        found = [request for request in self._ledger.everything() if stamped(request.delivery.headers, wanted)]
        return self._end(found, terminate, signum)

    def _end(self, requests: Iterable[Request], terminate: bool, signum: int) -> list[str]:
        terminated = []
        for request in requests:
            if request.state is not State.ACTIVE:
                self._ledger.recall(request)
            elif terminate:
                self._check_pool_terminates()
                terminated.append(request.headers.id)
                self._terminate(request, signum)
        # Wakes the loop, at whose end the recalled ones are settled.
        self._timer.call_after(0, lambda: None)
        return terminated

    def _check_pool_terminates(self) -> None:
        if "terminate" not in self._pool.capabilities:
            what = "the task is revoked, but this worker's pool cannot terminate a task that runs"
            raise KernelError(what, (), "use another pool: kernel worker -P prefork")

    def _terminate(self, request: Request, signum: int) -> None:
        """Signal it; what a child has and has not started gets the signal as soon as it starts."""
        if request.state is not State.ACTIVE:
            return
        if self._pool.terminate_job(request.seq, signum):
            request.signum = signum
            log.warning("Terminating %s[%s] by signal %d", request.headers.name, request.headers.id, signum)
            return
        self._timer.call_after(RETRY_S, self._terminate, (request, signum))

    def rate_limit(self, name: str, rate: str | float | None) -> None:
        """Set a task's rate limit in this worker. Raises `KernelError`."""
        try:
            per_second(rate)
        except ValueError as exc:
            raise KernelError(str(exc), (), "0 takes the limit away") from exc
        self.task(name).rate_limit = 0 if rate is None else rate  # None would be the setting's
        self._buckets.reset()
        self._timer.call_after(0, lambda: None)

    def time_limit(self, name: str, hard: float | None = None, soft: float | None = None) -> None:
        """Set a task's time limits, for runs that are received from now on. Raises `KernelError`."""
        task = self.task(name)
        for limit, capability in ((hard, "hard_limit"), (soft, "soft_limit")):
            if limit is None:
                continue
            try:
                seconds(limit)
            except ValueError as exc:
                raise KernelError(f"{limit!r}: {exc}", (), "leave it out to take the limit away") from exc
            if capability not in self._pool.capabilities:
                raise KernelError(f"this worker's pool has no {capability!r}", (), "kernel worker -P prefork")
        task.time_limit, task.soft_time_limit = hard, soft

    def task(self, name: str) -> Task[..., Any]:
        """Return a registered task. Raises `KernelError`."""
        found = self._app.tasks.get(name)
        if found is None:
            raise KernelError(
                "unknown task", (f"{name!r} is not registered in this worker",), "kernel inspect registered"
            )
        return found
