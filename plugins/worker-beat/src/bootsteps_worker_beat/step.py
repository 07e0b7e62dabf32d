"""The worker step `Beat`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import TIMER, KernelError, StartStopStep, WorkerView
from bootsteps_worker_beat.keys import BEAT
from bootsteps_worker_beat.settings import EMBEDDED, FILENAME, SCHEDULER, SETTINGS

if TYPE_CHECKING:
    from bootsteps_worker_beat.service import Service

__all__ = ["Beat"]

#: Others have the loop between two looks, however much is due.
BREATH_S = 0.001


class Beat(StartStopStep):
    """Sends periodic tasks from the worker's loop: on its timer, so without a thread to be forked with a lock held.

    A publication has a deadline, so an absent broker cannot stop the loop. With the pool `solo` a task delays beat;
    `kernel beat` is a process of its own.
    """

    provides = (BEAT,)
    requires = (TIMER,)
    settings = (EMBEDDED, *SETTINGS)

    def include_if(self, worker: WorkerView) -> bool:
        return worker.setting(EMBEDDED)

    def create(self, worker: WorkerView) -> Service:
        from bootsteps_tasks import App
        from bootsteps_worker_beat.service import Service

        if not isinstance(worker.app, App):
            raise KernelError(f"{worker.app!r} is no application with tasks", (), "kernel worker -A MODULE:APP -B")
        return Service(worker.app, None, worker.setting(FILENAME), worker.setting(SCHEDULER))

    def start(self, worker: WorkerView) -> None:
        worker.on_stop(self.obj.close)
        self.obj.open(worker.hooks, embedded=True)
        self._entry: Any = worker.timer.call_after(0.0, self._tick, (worker,))
        worker.on_stop(lambda: self._entry.cancel())

    def _tick(self, worker: WorkerView) -> None:
        seconds = self.obj.tick()
        self._entry = worker.timer.call_after(max(seconds, BREATH_S), self._tick, (worker,))

    def close(self, worker: WorkerView) -> None:
        """Send nothing more while the running tasks are waited for."""
        self._entry.cancel()

    def stop(self, worker: WorkerView) -> None:
        """Nothing more: what is released is registered where it is acquired."""
