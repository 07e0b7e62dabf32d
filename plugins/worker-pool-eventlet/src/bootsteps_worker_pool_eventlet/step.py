"""Lend a pool of child processes that run greenlets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import WorkerView
from bootsteps_pool_processes.step import ConcurrentStep

if TYPE_CHECKING:
    from bootsteps_pool_processes.nature import Nature
    from bootsteps_pool_processes.wide import ConcurrentPool

__all__ = ["EventletPool"]

#: Runs in each child before anything else is imported, so that all that comes is patched.
FIRST = "import eventlet; eventlet.monkey_patch()"
#: Named, not imported: this process is not to be patched.
WORK = "bootsteps_worker_pool_eventlet.child:work"


class EventletPool(ConcurrentStep):
    """Runs tasks in greenlets of eventlet, in child processes that are patched from their start."""

    name = "Pool"
    choice = "eventlet"

    def kind(self) -> type[ConcurrentPool]:
        """Return the class of the pool."""
        from bootsteps_worker_pool_eventlet.told import Told

        return Told

    def nature(self, worker: WorkerView) -> Nature:
        from bootsteps_pool_processes.nature import Nature

        return Nature("eventlet", WORK, False, self.capabilities, "spawn", FIRST)

    def start(self, worker: WorkerView) -> None:
        super().start(worker)
        worker.hooks.announce("eventlet_pool_started", pool=self.obj)

    def stop(self, worker: WorkerView) -> None:
        worker.hooks.announce("eventlet_pool_preshutdown", pool=self.obj)
        super().stop(worker)
        worker.hooks.announce("eventlet_pool_postshutdown", pool=self.obj)
