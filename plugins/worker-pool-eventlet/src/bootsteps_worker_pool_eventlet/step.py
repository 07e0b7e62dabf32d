"""Lend a pool of child processes that run greenlets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import WorkerView
from bootsteps_pool_processes.step import ConcurrentStep

if TYPE_CHECKING:
    from bootsteps_pool_processes.nature import Nature

__all__ = ["EventletPool"]

#: Runs in each child before anything else is imported, so that all that comes is patched.
FIRST = "import eventlet; eventlet.monkey_patch()"
#: Named, not imported: this process is not to be patched.
WORK = "bootsteps_worker_pool_eventlet.child:work"


class EventletPool(ConcurrentStep):
    """Runs tasks in greenlets of eventlet, in child processes that are patched from their start."""

    name = "Pool"
    choice = "eventlet"

    def nature(self, worker: WorkerView) -> Nature:
        from bootsteps_pool_processes.nature import Nature

        return Nature("eventlet", WORK, False, self.capabilities, "spawn", FIRST)
