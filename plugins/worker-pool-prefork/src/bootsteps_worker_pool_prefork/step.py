"""Lend a pool of child processes."""

from __future__ import annotations

from typing import Any

from bootsteps import (
    HUB,
    POOL,
    RUNNER,
    TIMER,
    WORKER_CONCURRENCY,
    WORKER_MAX_MEMORY_PER_CHILD,
    WORKER_MAX_TASKS_PER_CHILD,
    Setting,
    SettingError,
    StartStopStep,
    WorkerView,
)
from bootsteps.cores import usable_cores
from bootsteps_worker_pool_prefork.pool import CAPABILITIES
from bootsteps_worker_pool_prefork.pool import PreforkPool as Pool
from bootsteps_worker_pool_prefork.recycle import Recycling

__all__ = ["PreforkPool"]

#: What `stop` needs, beyond waiting for running jobs, to end children that do not listen.
KILLING_S = 8.0


class PreforkPool(StartStopStep):
    """Runs tasks in child processes, fed in batches over sockets."""

    name = "Pool"
    choice = "prefork"
    provides = (POOL,)
    requires = (HUB, TIMER, RUNNER)
    settings = (WORKER_CONCURRENCY, WORKER_MAX_TASKS_PER_CHILD, WORKER_MAX_MEMORY_PER_CHILD)
    capabilities = CAPABILITIES
    stop_timeout_s = 30.0

    def create(self, worker: WorkerView) -> Pool:
        size = worker.setting(WORKER_CONCURRENCY)
        if size is not None and size < 1:
            what = f"worker_concurrency is {size}, and a pool has at least one child"
            raise SettingError(what, (), "-c 1, or leave it out: one per core")
        return Pool(
            worker.get(HUB),
            worker.get(TIMER),
            worker.get(RUNNER),
            size or usable_cores(),
            worker.log,
            worker.hooks.announce,
            Recycling(
                _positive(worker, WORKER_MAX_TASKS_PER_CHILD),
                _positive(worker, WORKER_MAX_MEMORY_PER_CHILD),
            ),
        )

    def start(self, worker: WorkerView) -> None:
        worker.on_stop(self.obj.terminate)  # after half a start, and for what a stop leaves
        self.obj.start()

    def close(self, worker: WorkerView) -> None:
        self.obj.close()

    def stop(self, worker: WorkerView) -> None:
        self.obj.stop((self.stop_timeout_s or float("inf")) - KILLING_S)

    def idle(self, worker: WorkerView) -> bool:
        return bool(self.obj.idle())

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"pool": dict(self.obj.info())}


def _positive(worker: WorkerView, setting: Setting[int | None]) -> int | None:
    value = worker.setting(setting)
    if value is not None and value < 1:
        raise SettingError(f"{setting.name} is {value}, and must be at least 1", (), "leave it out for no limit")
    return value
