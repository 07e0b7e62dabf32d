"""The application: a name, settings, tasks, a way to the broker and one to the results."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack, overload

import bootsteps
from bootsteps.errors import DuplicateName, LoadError, SettingError
from bootsteps_tasks import places
from bootsteps_tasks.backend import Backend, open_backend
from bootsteps_tasks.broker import broker_url, connect
from bootsteps_tasks.options import CallOptions, TaskOptions
from bootsteps_tasks.process import PerProcess
from bootsteps_tasks.publisher import Publisher
from bootsteps_tasks.result import AsyncResult as Result
from bootsteps_tasks.result import results_of
from bootsteps_tasks.routing import pick_queues
from bootsteps_tasks.sender import Sender, note_child
from bootsteps_tasks.settings import SETTINGS
from bootsteps_tasks.task import Task

__all__ = ["App"]

P = ParamSpec("P")
R = TypeVar("R")

#: How many messages `send_many` hands to the transport at one time.
BATCH = 500


class App(bootsteps.App):
    """An application with tasks.

    `broker` is short for `broker_url`, `backend` for `result_backend`; further settings are keywords or set later on
    `conf`. A name of `__main__` (from `App(__name__)` in a script) becomes the script's name, under which a worker
    imports it.
    """

    settings = SETTINGS

    def __init__(
        self, main: str | None = None, broker: str | None = None, backend: str | None = None, **settings: Any
    ) -> None:
        _merge(settings, "broker_url", broker, "broker")
        _merge(settings, "result_backend", backend, "backend")
        super().__init__(_script() if main == "__main__" else main, **settings)
        self._tasks: dict[str, Task[..., Any]] = {}
        self._publisher = PerProcess(lambda: Publisher(self.connection))
        self._backend = PerProcess(lambda: open_backend(self))

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The registered tasks by name."""
        return MappingProxyType(self._tasks)

    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, *, bind: Literal[True], name: str | None = None, **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(
        self, *, bind: Literal[False] = False, name: str | None = None, **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, fun: Any = None, /, *, bind: bool = False, name: str | None = None, **options: Any) -> Any:  # type: ignore[misc]
        """Register a function as a task: `@app.task` or `@app.task(name=..., bind=True, queue=..., ...)`.

        With `bind` the function gets the task as its first argument. The name is `module.function` unless given. Raises
        `DuplicateName` when another function has it, TypeError for an unknown option.
        """
        if fun is None:
            return lambda function: self._register(function, bind, name, options)
        if not callable(fun):
            raise TypeError(f"@app.task decorates a function, not {fun!r}; options are keywords")
        return self._register(fun, bind, name, options)

    def _register(self, fun: Callable[..., R], bind: bool, name: str | None, options: Any) -> Task[..., R]:
        task: Task[..., R] = Task(self, fun, name or self.task_name(fun), bind=bind, **options)
        other = self._tasks.get(task.name)
        if other is not None and _place(other.run) != _place(fun):
            both = (f"first:  {_place(other.run)}", f"second: {_place(fun)}")
            raise DuplicateName(f"two functions claim the task name {task.name!r}", both, "@app.task(name=...) on one")
        self._tasks[task.name] = task
        return task

    def task_name(self, fun: Callable[..., Any]) -> str:
        """Return `module.function`, with the application's name for the module that is run as a script."""
        module = fun.__module__
        if module == "__main__":
            module = self.main or _script()
        return f"{module}.{fun.__name__}"

    def load(self) -> Sequence[Any]:
        """Import what `imports` and `include` name. Returns these modules and the application's own."""
        names = dict.fromkeys((*self.conf["imports"], *self.conf["include"]))
        modules = [_import(self, name) for name in names]
        return [*super().load(), *modules]

    @overload
    def send_task(
        self,
        task: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]: ...
    @overload
    def send_task(
        self,
        task: Task[..., R],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[R]: ...
    def send_task(
        self,
        task: str | Task[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Result[Any]:
        """Publish one message; a name need not be registered here. Raises as `Task.apply_async`."""
        sent = Sender(self).make(task, args, kwargs, options)
        self._publisher.get().publish(sent)
        note_child(sent.message.id)
        return Result(sent.message.id, self)

    def send_many(
        self, calls: Iterable[tuple[str | Task[..., Any], Sequence[Any], Mapping[str, Any], Mapping[str, Any]]]
    ) -> list[Result[Any]]:
        """Publish many messages, `(task or name, args, kwargs, options)` each; the iterable is read as it goes.

        A transport with a bulk way takes 500 at a time. When it raises, messages before the one at fault may be out.
        """
        sender, publisher = Sender(self), self._publisher.get()
        results: list[Result[Any]] = []
        for batch in _batches((sender.make(*call) for call in calls), BATCH):
            publisher.publish_many(batch)
            for sent in batch:
                note_child(sent.message.id)
                results.append(Result(sent.message.id, self))
        return results

    def broker_url(self) -> tuple[str, bool]:
        """Return the broker's URL and whether it is the embedded default. Raises `KernelError`."""
        return broker_url(self)

    def connection(self) -> Any:
        """Return a new `kombu.Connection` to the broker, not yet connected. Raises `KernelError`."""
        return connect(self)

    def queues(self, only: Sequence[str] = ()) -> list[Any]:
        """Return the `kombu.Queue`s that a worker consumes from. Raises `UnknownName`."""
        return pick_queues(self.conf, only)

    @property
    def backend(self) -> Backend:
        """This process's result backend. Raises `KernelError` when `result_backend` names none that is installed."""
        return self._backend.get()

    def AsyncResult(self, id: str) -> Result[Any]:
        """Return the result of the task with this id."""
        return Result(id, self)

    def results_of(self, ids: Iterable[str], timeout: float | None = None) -> Iterator[Result[Any]]:
        """Yield results as they become ready, each once. Raises `TimeoutError` `timeout` seconds after the start."""
        return results_of(self, ids, timeout)

    def close(self) -> None:
        """Close this process's connection to the broker and its result backend; both reopen when used."""
        publisher, backend = self._publisher.drop(), self._backend.drop()
        if publisher is not None:
            publisher.close()
        if backend is not None:
            backend.close()

    @staticmethod
    def mask_url(url: str) -> str:
        """Return the URL with its passwords masked."""
        return places.mask_url(url)


def _merge(settings: dict[str, Any], name: str, value: str | None, keyword: str) -> None:
    if value is None:
        return
    if settings.get(name, value) != value:
        raise SettingError(f"{keyword}= and {name}= name two different URLs", fix=f"give one of them: {name}=")
    settings[name] = value


def _script() -> str:
    """Return the name under which the running script can be imported."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = str(getattr(main, "__file__", "") or "")
    return file.rpartition("/")[2].removesuffix(".py") or "__main__"


def _place(fun: Any) -> str:
    code = getattr(fun, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{fun.__module__}.{getattr(fun, '__qualname__', fun)}{where}"


def _import(app: App, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as exc:
        what = f"module {name!r} cannot be imported: {type(exc).__name__}: {exc}"
        whose = (f"settings imports and include of application {app.main or 'default'!r}",)
        raise LoadError(what, whose, f"python -c 'import {name}'") from exc


def _batches(items: Iterable[R], size: int) -> Iterator[list[R]]:
    batch: list[R] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
