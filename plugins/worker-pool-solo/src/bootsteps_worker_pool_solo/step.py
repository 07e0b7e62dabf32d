"""Lend a pool of one: the loop thread itself."""

from __future__ import annotations

from collections.abc import Iterable

from bootsteps import HUB, POOL, RUNNER, WORKER_CONCURRENCY, Demand, Settings, StartStopStep, WorkerView
from bootsteps_worker_pool_solo.pool import SoloPool as Pool

__all__ = ["SoloPool"]


class SoloPool(StartStopStep):
    """Runs tasks where the loop runs."""

    name = "Pool"
    choice = "solo"
    provides = (POOL,)
    requires = (HUB, RUNNER)
    settings = (WORKER_CONCURRENCY,)

    @classmethod
    def demands(cls, settings: Settings) -> Iterable[Demand]:
        """More than one at a time is more than this pool can do: an error, not a surprise."""
        number = settings.get(WORKER_CONCURRENCY)
        return [Demand(POOL, "concurrency", f"worker_concurrency = {number}")] if number and number > 1 else []

    def create(self, worker: WorkerView) -> Pool:
        return Pool(worker.get(HUB), worker.get(RUNNER))

    def start(self, worker: WorkerView) -> None:
        self.obj.start()
        worker.on_stop(self.obj.stop)

    def stop(self, worker: WorkerView) -> None:
        """Nothing more: a job that is queued here was never started, so it is the broker's again."""

    def idle(self, worker: WorkerView) -> bool:
        return not self.obj.backlog
