"""From what happens to tasks, as the worker's hooks tell it, to events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import Hooks, RunningRequest, hookimpl
from bootsteps_consumer_events.dispatcher import Dispatcher

if TYPE_CHECKING:
    from bootsteps_tasks import App, TaskHeaders

__all__ = ["TaskEvents", "Wiring"]


class TaskEvents:
    """Hears the hooks of tasks. Loop thread only."""

    def __init__(self, app: App, dispatcher: Dispatcher) -> None:
        self._app = app
        self._send = dispatcher.send

    def _wanted(self, name: str) -> bool:
        task = self._app.tasks.get(name)
        return task is None or task.send_events

    @hookimpl
    def task_received(self, request: TaskHeaders) -> None:
        if self._wanted(request.name):
            self._send(
                "task-received",
                uuid=request.id,
                name=request.shadow or request.name,
                args=request.argsrepr,
                kwargs=request.kwargsrepr,
                root_id=request.root_id,
                parent_id=request.parent_id,
                retries=request.retries,
                eta=request.eta and request.eta.isoformat(),
                expires=request.expires and request.expires.isoformat(),
            )

    @hookimpl
    def task_started(self, request: RunningRequest) -> None:
        if self._wanted(request.name):
            self._send("task-started", uuid=request.id, timestamp=request.time_start)

    @hookimpl
    def task_settled(self, request: RunningRequest, state: str, runtime_s: float, text: str, traceback: str) -> None:
        if not self._wanted(request.name):
            return
        if state == "SUCCESS":
            self._send("task-succeeded", uuid=request.id, result=text, runtime=runtime_s)
        elif state == "FAILURE":
            # Celery tells no traceback of what it never ran, and neither do we.
            ran: dict[str, Any] = {"traceback": traceback} if request.pid or traceback else {}
            self._send("task-failed", uuid=request.id, exception=text, **ran)
        elif state == "RETRY":
            self._send("task-retried", uuid=request.id, exception=text, traceback=traceback)
        elif state == "REJECTED":  # it will never run again, and both say so
            self._send("task-failed", uuid=request.id, exception=text, traceback=traceback)
            self._send("task-rejected", uuid=request.id, requeue=False)
        elif state == "REQUEUED":
            self._send("task-rejected", uuid=request.id, requeue=True)

    @hookimpl
    def task_revoked(self, request: TaskHeaders, terminated: bool, signum: int | None, expired: bool) -> None:
        if self._wanted(request.name):
            self._send("task-revoked", uuid=request.id, terminated=terminated, signum=signum, expired=expired)

    @hookimpl
    def task_cancelled(self, request: TaskHeaders) -> None:
        if self._wanted(request.name):
            self._send("task-cancelled", uuid=request.id)


class Wiring:
    """Lets the events of tasks hear the hooks just as long as they are wanted: else a task pays nothing for them."""

    NAME = "consumer.Events of tasks"

    def __init__(self, app: App, hooks: Hooks, dispatcher: Dispatcher) -> None:
        self._hooks = hooks
        self._dispatcher = dispatcher
        self._events: Any = TaskEvents(app, dispatcher)

    def refresh(self) -> None:
        """Look whether they are wanted now."""
        wanted = self._dispatcher.sends("task")
        if wanted and not self._hooks.has(self.NAME):
            self._hooks.register(self._events, self.NAME)
        elif not wanted:
            self.undo()

    def undo(self) -> None:
        """Hear no more."""
        self._hooks.unregister(self._events)
