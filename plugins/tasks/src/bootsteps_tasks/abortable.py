"""Tasks that look now and then whether they shall stop: `@app.task(base=AbortableTask, bind=True)`.

The wish is a state in the result backend, so it reaches a task on any pool and needs no remote control.
"""

from __future__ import annotations

from typing import ParamSpec, TypeVar

from bootsteps_tasks.backend import READY_STATES, meta
from bootsteps_tasks.result import AsyncResult
from bootsteps_tasks.task import Task

__all__ = ["ABORTED", "AbortableTask", "abort", "is_aborted"]

P = ParamSpec("P")
R = TypeVar("R")

#: The state of a task that shall stop.
ABORTED = "ABORTED"


class AbortableTask(Task[P, R]):
    """A task that can be asked to stop; its code must look at `is_aborted()`."""

    def is_aborted(self, task_id: str | None = None) -> bool:
        """Tell whether this run (or that of another id) shall stop. Asks the result backend."""
        wanted = task_id or self.request.id
        return wanted is not None and is_aborted(AsyncResult(wanted, self.app))


def abort(result: AsyncResult[R]) -> bool:
    """Ask a task to stop; False when it is over already."""
    if result.state in READY_STATES:
        return False
    result.app.backend.store([meta(result.id, ABORTED)])
    return True


def is_aborted(result: AsyncResult[R]) -> bool:
    """Tell whether a task was asked to stop and has not ended yet."""
    return result.state == ABORTED
