"""The result of a task, as its publisher sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bootsteps_tasks import errors
from bootsteps_tasks.backend import EXCEPTION_STATES, READY_STATES
from bootsteps_tasks.control import revoke_by_stamps
from bootsteps_tasks.remote import exception_from_meta
from bootsteps_tasks.request import current_request

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["AsyncResult", "EagerResult", "allow_join_result", "refuse_in_task", "results_of"]

R = TypeVar("R")

_may_wait: ContextVar[bool] = ContextVar("bootsteps_tasks_may_wait", default=False)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Inside a task, allow waiting for results, which takes a slot of the pool from those that could bring them."""
    token = _may_wait.set(True)
    try:
        yield
    finally:
        _may_wait.reset(token)


def refuse_in_task() -> None:
    """Raise RuntimeError inside a task, unless waiting is allowed there."""
    request = current_request()
    if request is not None and not request.called_directly and not request.is_eager and not _may_wait.get():
        raise RuntimeError(
            "a task that waits for another task's result may wait for ever, when all children of the pool do; "
            "use a chain or a chord, or get(disable_sync_subtasks=False) if you know better"
        )


class AsyncResult(Generic[R]):
    """What is known of a task by its id. Asks the backend each time until the task is ready, never after."""

    def __init__(self, id: str, app: App, parent: Any = None) -> None:
        self.id = id
        self.app = app
        #: The result that led to this one: of the task before it in a chain, or of a chord's header.
        self.parent = parent
        self._meta: dict[str, Any] | None = None
        self._then: list[Callable[[Any], Any]] = []

    @property
    def task_id(self) -> str:
        """The same as `id`."""
        return self.id

    @property
    def known(self) -> bool:
        """Whether it is known, without a look, that it is ready."""
        return self._meta is not None

    def seen(self, meta: dict[str, Any] | None) -> None:
        """Take what somebody else read of it."""
        if meta is not None:
            self._keep(meta)

    def _look(self) -> dict[str, Any]:
        if self._meta is not None:
            return self._meta
        return self._keep(self.app.backend.get(self.id) or {"status": "PENDING", "result": None})

    def _keep(self, meta: dict[str, Any]) -> dict[str, Any]:
        if meta["status"] in READY_STATES and self._meta is None:
            self._meta = meta
            while self._then:
                self._then.pop(0)(self)
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
    def children(self) -> list[Any]:
        """The results of what this task published: tasks, and groups."""
        from bootsteps_tasks.groups import result_from_tuple

        return [result_from_tuple(child, self.app) for child in self._look().get("children") or []]

    @property
    def info(self) -> Any:
        """The same as `result`, under the name by which states on the way are mostly read."""
        return self.result

    @property
    def meta(self) -> dict[str, Any]:
        """All that is stored of it: the meta object."""
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

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, R], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Wait for the result and return it.

        `timeout` is in seconds, None for ever. Raises `TimeoutError`; and, unless `propagate` is off (it is returned
        then), the task's own exception with the worker's traceback as a note, or with `follow_parents` that of a task
        before it in the chain, since this one will never run then. `callback(id, result)` is called with the result.
        Inside a task it raises RuntimeError instead of waiting, unless `disable_sync_subtasks` is off. The others are
        there for callers that come from Celery: the backend knows better how to wait.
        """
        if self._meta is None:
            if disable_sync_subtasks:
                refuse_in_task()
            self._wait(timeout, propagate and follow_parents)
        return self.maybe_throw(propagate, callback)  # type: ignore[no-any-return]

    wait = get

    def _wait(self, timeout: float | None, follow: bool) -> None:
        """Wait until this is ready, or with `follow` one before it has failed, which is raised."""
        until = None if timeout is None else monotonic() + timeout
        pending = {result.id: result for result in (self, *(self._chain() if follow else ()))}
        while self._meta is None:
            left = None if until is None else max(0.0, until - monotonic())
            ready = self.app.backend.wait(pending.keys(), left)
            if not ready:
                raise errors.TimeoutError(f"task {self.id} is not ready after {timeout} s")
            for task_id, meta in ready.items():
                pending.pop(task_id).seen(meta)
            if self._meta is None:
                for task_id in ready:
                    before = AsyncResult[Any](task_id, self.app)
                    before.seen(ready[task_id])
                    before.maybe_throw()

    def _chain(self) -> Iterator[AsyncResult[Any]]:
        """Yield the tasks before it in its chain that are not known to be ready."""
        parent = self.parent
        while isinstance(parent, AsyncResult):
            if not parent.known:
                yield parent
            parent = parent.parent

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise its exception if it failed; else return what is there."""
        meta = self._look()
        value = _value(meta)
        if propagate and meta["status"] in ("FAILURE", "REVOKED"):
            raise _with_traceback(value, meta)
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def then(self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None) -> None:
        """Call `callback(self)`, or after a failure `on_error(self)`, when this object comes to know that it ended."""

        def call(result: Any) -> None:
            chosen = callback if result.successful() else on_error
            if chosen is not None:
                chosen(result)

        if self._meta is None:
            self._then.append(call)
        else:
            call(self)

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield `(result, value)` of this one and of all that came of it, as deep as it goes. Options as of `get`."""
        pending: list[Any] = [self]
        while pending:
            result = pending.pop(0)
            yield result, result.get(**options)
            pending += result.children

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield `(parent, result)` of this one (None, itself) and of all that came of it.

        Raises `IncompleteStream` at one that is not ready, unless `intermediate` results are welcome.
        """
        pending: list[tuple[Any, Any]] = [(None, self)]
        while pending:
            parent, result = pending.pop(0)
            yield parent, result
            if result.ready():
                pending += [(result, child) for child in result.children]
            elif not intermediate:
                raise errors.IncompleteStream(f"{result} is not ready")

    @property
    def graph(self) -> dict[Any, list[Any]]:
        """Which results came of which, as far as they are ready."""
        found: dict[Any, list[Any]] = {}
        for parent, result in self.iterdeps(intermediate=True):
            found.setdefault(result, [])
            if parent is not None:
                found[parent].append(result)
        return found

    def as_tuple(self) -> Any:
        """Return it as it is written (wire reference 15.1)."""
        return [[self.id, self.parent and self.parent.as_tuple()], None]

    def as_list(self) -> list[str]:
        """Return its id and those of its parents."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    def leaves(self) -> list[AsyncResult[Any]]:
        """Return the results of the single tasks: itself."""
        return [self]

    def revoke(
        self,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have the task not run; with `terminate` end it by a signal (default SIGTERM) if it runs. As `App.revoke`."""
        self.app.revoke(self.id, terminate, signal, wait, timeout)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], terminate: bool = False, signal: str | int | None = None,
        wait: bool = False, timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Have every task not run that has one of these stamps with one of these values, whatever its id."""
        revoke_by_stamps(self.app, headers, terminate, signal, wait, timeout)

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


class EagerResult(AsyncResult[R]):
    """The result of a task that was run where it was called: ready from the beginning."""

    def __init__(self, id: str, app: App, state: str, value: Any, traceback: str | None) -> None:
        super().__init__(id, app)
        self._meta = {"status": state, "result": value, "traceback": traceback}

    def forget(self) -> None:
        """Nothing is stored."""

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"


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
