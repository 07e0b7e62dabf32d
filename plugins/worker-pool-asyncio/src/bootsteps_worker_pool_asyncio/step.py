"""Lend a pool of child processes that run coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import WorkerView
from bootsteps_pool_processes.step import START_METHOD, ConcurrentStep

if TYPE_CHECKING:
    from bootsteps_pool_processes.nature import Nature

__all__ = ["AsyncioPool"]


class AsyncioPool(ConcurrentStep):
    """Runs `async def` tasks on event loops in child processes, and others in threads there."""

    name = "Pool"
    choice = "asyncio"
    settings = (*ConcurrentStep.settings, START_METHOD)
    capabilities = ConcurrentStep.capabilities | {"coroutines"}

    def nature(self, worker: WorkerView) -> Nature:
        from bootsteps_pool_processes.nature import Nature
        from bootsteps_worker_pool_asyncio.child import work  # asyncio takes 30 ms of every `--help`

        return Nature("asyncio", work, False, self.capabilities, worker.setting(START_METHOD))
