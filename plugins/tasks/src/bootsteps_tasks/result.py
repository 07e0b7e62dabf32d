"""The result of a task, as its publisher sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bootsteps_tasks import errors
from bootsteps_tasks.backend import EXCEPTION_STATES, READY_STATES
from bootsteps_tasks.remote import exception_from_meta

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["AsyncResult", "results_of"]

R = TypeVar("R")


class AsyncResult(Generic[R]):
    """What is known of a task by its id. Asks the backend each time until the task is ready, never after."""

    def __init__(self, id: str, app: App) -> None:
        self.id = id
        self.app = app
        self._meta: dict[str, Any] | None = None

    def _look(self) -> dict[str, Any]:
        if self._meta is not None:
            return self._meta
        return self._keep(self.app.backend.get(self.id) or {"status": "PENDING", "result": None})

    def _keep(self, meta: dict[str, Any]) -> dict[str, Any]:
        if meta["status"] in READY_STATES:
            self._meta = meta
        return meta

    @property
    def state(self) -> str:
        """`PENDING` while nothing is known, also of an id that never was; else as stored, e.g. `SUCCESS`."""
        return str(self._look()["status"])

    status = state

    @property
    def result(self) -> Any:
        """The task's return value, its exception, or what a state of its own holds."""
        return _value(self._look())

    @property
    def traceback(self) -> str | None:
        """The traceback in the worker."""
        return self._look().get("traceback")

    @property
    def date_done(self) -> datetime | None:
        """When it became ready; aware."""
        found = self._look().get("date_done")
        return datetime.fromisoformat(found) if isinstance(found, str) else found

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The tasks that this one published."""
        found = self._look().get("children") or []
        return [AsyncResult(child[0][0], self.app) for child in found]

    @property
    def info(self) -> dict[str, Any]:
        """The meta object itself."""
        return self._look()

    def ready(self) -> bool:
        """Whether it succeeded, failed or was revoked."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """Whether it returned."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Whether it raised."""
        return self.state == "FAILURE"

    def get(self, timeout: float | None = None, propagate: bool = True, interval: float | None = None) -> R:
        """Wait for the result and return it.

        `timeout` is in seconds, None for ever. Raises `TimeoutError`; and, unless `propagate` is off (it is returned
        then), the task's own exception with the worker's traceback as a note. `interval` is there for callers that come
        from Celery: the backend knows better how to wait.
        """
        if self._meta is None:
            found = self.app.backend.wait((self.id,), timeout).get(self.id)
            if found is None:
                raise errors.TimeoutError(f"task {self.id} is not ready after {timeout} s")
            self._keep(found)
        meta = self._look()
        value = _value(meta)
        if propagate and meta["status"] in EXCEPTION_STATES:
            raise _with_traceback(value, meta)
        return value  # type: ignore[no-any-return]

    def forget(self) -> None:
        """Delete the result in the backend."""
        self._meta = None
        self.app.backend.forget(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"


def _value(meta: dict[str, Any]) -> Any:
    result = meta["result"]
    return exception_from_meta(result) if meta["status"] in EXCEPTION_STATES else result


def _with_traceback(exc: BaseException, meta: dict[str, Any]) -> BaseException:
    if meta.get("traceback"):
        exc.add_note(f"In the worker:\n{meta['traceback']}".rstrip())
    return exc


def results_of(app: App, ids: Iterable[str], timeout: float | None) -> Iterator[AsyncResult[Any]]:
    """Yield the results of these ids as they become ready, each once.

    Raises `TimeoutError` when some are not ready `timeout` seconds after the first is asked for.
    """
    until = None if timeout is None else monotonic() + timeout
    pending = dict.fromkeys(ids)
    while pending:
        left = None if until is None else max(0.0, until - monotonic())
        ready = app.backend.wait(pending.keys(), left)
        if not ready:
            raise errors.TimeoutError(f"{len(pending)} tasks are not ready after {timeout} s")
        for task_id, meta in ready.items():
            del pending[task_id]
            found: AsyncResult[Any] = AsyncResult(task_id, app)
            found._keep(meta)
            yield found
