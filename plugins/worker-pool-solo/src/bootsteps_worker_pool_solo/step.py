"""Lend a pool of one: the loop thread itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bootsteps import (
    HUB,
    POOL,
    RUNNER,
    WORKER_CONCURRENCY,
    WORKER_MAX_MEMORY_PER_CHILD,
    WORKER_MAX_TASKS_PER_CHILD,
    Demand,
    Settings,
    StartStopStep,
    WorkerView,
)

if TYPE_CHECKING:
    from bootsteps_worker_pool_solo.pool import SoloPool as Pool

__all__ = ["SoloPool"]


#: What replaces children, and what a pool must be able to do for it.
RECYCLING = ((WORKER_MAX_TASKS_PER_CHILD, "max_tasks"), (WORKER_MAX_MEMORY_PER_CHILD, "max_memory"))


class SoloPool(StartStopStep):
    """Runs tasks where the loop runs."""

    name = "Pool"
    choice = "solo"
    provides = (POOL,)
    requires = (HUB, RUNNER)
    settings = (WORKER_CONCURRENCY, *(setting for setting, _ in RECYCLING))

    @classmethod
    def demands(cls, settings: Settings) -> Iterable[Demand]:
        """More than one at a time is more than this pool can do, and it has no children: an error, not a surprise."""
        number = settings.get(WORKER_CONCURRENCY)
        if number and number > 1:
            yield Demand(POOL, "concurrency", f"worker_concurrency = {number}")
        for setting, capability in RECYCLING:
            value = settings.get(setting)
            if value is not None:
                yield Demand(POOL, capability, f"{setting.name} = {value}")

    def create(self, worker: WorkerView) -> Pool:
        from bootsteps_worker_pool_solo.pool import SoloPool as Pool

        return Pool(worker.get(HUB), worker.get(RUNNER))

    def start(self, worker: WorkerView) -> None:
        self.obj.start()
        worker.on_stop(self.obj.stop)

    def stop(self, worker: WorkerView) -> None:
        """Nothing more: a job that is queued here was never started, so it is the broker's again."""

    def idle(self, worker: WorkerView) -> bool:
        return not self.obj.backlog
