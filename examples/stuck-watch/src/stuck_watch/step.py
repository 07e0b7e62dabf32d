"""The worker step."""

from __future__ import annotations

from bootsteps import REQUESTS, TIMER, RunningRequest, Setting, StartStopStep, WorkerView, hookimpl
from stuck_watch.watch import WATCH, Watch

__all__ = ["LOOK_EVERY_S", "STUCK_AFTER", "StuckWatch"]

STUCK_AFTER = Setting[float](
    "stuck_after", float, 600.0, unit="s", help="warn about a task that has been running for longer"
)
LOOK_EVERY_S = 30.0


class StuckWatch(StartStopStep):
    """Warns once about each task that runs for too long, and lends the list of them."""

    provides = (WATCH,)
    requires = (REQUESTS, TIMER)
    settings = (STUCK_AFTER,)

    def create(self, worker: WorkerView) -> Watch:
        return Watch(worker.get(REQUESTS), worker.setting(STUCK_AFTER))  # lent as WATCH

    def start(self, worker: WorkerView) -> None:
        self._warned: set[str] = set()
        every = min(LOOK_EVERY_S, self.obj.limit_s or LOOK_EVERY_S)
        tick = worker.get(TIMER).call_repeatedly(every, self._look, (worker,))
        worker.on_stop(tick.cancel)  # the release stands beside the acquisition

    def _look(self, worker: WorkerView) -> None:
        for request in worker.get(WATCH).overdue():
            if request.id not in self._warned:
                self._warned.add(request.id)
                worker.log.warning("%s[%s] runs longer than %g s", request.name, request.id, self.obj.limit_s)

    @hookimpl
    def task_settled(self, request: RunningRequest) -> None:
        self._warned.discard(request.id)
