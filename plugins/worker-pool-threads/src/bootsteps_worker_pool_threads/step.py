"""Lend a pool of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import HUB, POOL, RUNNER, WORKER_CONCURRENCY, SettingError, StartStopStep, WorkerView

if TYPE_CHECKING:
    from bootsteps_worker_pool_threads.pool import ThreadPool as Pool

__all__ = ["CAPABILITIES", "ThreadPool"]

CAPABILITIES = frozenset({"grow", "shrink"})
#: What `stop` needs beyond waiting for running jobs.
ENDING_S = 3.0


class ThreadPool(StartStopStep):
    """Runs tasks in threads of the worker's own process."""

    name = "Pool"
    choice = "threads"
    provides = (POOL,)
    requires = (HUB, RUNNER)
    settings = (WORKER_CONCURRENCY,)
    capabilities = CAPABILITIES
    stop_timeout_s = 30.0

    def create(self, worker: WorkerView) -> Pool:
        from bootsteps.cores import usable_cores
        from bootsteps_worker_pool_threads.pool import ThreadPool as Pool

        size = worker.setting(WORKER_CONCURRENCY)
        if size is not None and size < 1:
            what = f"worker_concurrency is {size}, and a pool has at least one thread"
            raise SettingError(what, (), "-c 1, or leave it out: one per core")
        return Pool(worker.get(HUB), worker.get(RUNNER), size or usable_cores(), worker.log, worker.hooks.announce)

    def start(self, worker: WorkerView) -> None:
        worker.on_stop(self.obj.terminate)  # after half a start, and for what a stop leaves
        self.obj.start()

    def close(self, worker: WorkerView) -> None:
        self.obj.close()

    def stop(self, worker: WorkerView) -> None:
        self.obj.stop((self.stop_timeout_s or float("inf")) - ENDING_S)

    def idle(self, worker: WorkerView) -> bool:
        return bool(self.obj.idle())

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"pool": dict(self.obj.info())}
