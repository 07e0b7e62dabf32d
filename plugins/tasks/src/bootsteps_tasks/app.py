"""The application: a name, settings, tasks, a way to the broker and one to the results."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack, overload

import bootsteps
from bootsteps.errors import LoadError, SettingError
from bootsteps_tasks import control as remote
from bootsteps_tasks import places, renewal, shared
from bootsteps_tasks.attributes import attribute_of
from bootsteps_tasks.backend import Backend, open_backend
from bootsteps_tasks.broker import broker_url, connect
from bootsteps_tasks.builtin import BUILTIN, builtin
from bootsteps_tasks.canvas.signature import Signature, signature
from bootsteps_tasks.discovery import listen, related
from bootsteps_tasks.groups import GroupResult as Group
from bootsteps_tasks.options import CallOptions, TaskOptions
from bootsteps_tasks.process import PerProcess
from bootsteps_tasks.publisher import Publisher, Sent
from bootsteps_tasks.registry import Registry, annotate, made_of, script
from bootsteps_tasks.request import current_request
from bootsteps_tasks.result import AsyncResult as Result
from bootsteps_tasks.result import results_of
from bootsteps_tasks.routing import pick_queues
from bootsteps_tasks.sender import Sender, note_child
from bootsteps_tasks.settings import SETTINGS
from bootsteps_tasks.signing import enable_signing
from bootsteps_tasks.task import Task

__all__ = ["App"]

P = ParamSpec("P")
R = TypeVar("R")

#: How many messages `send_many` hands to the transport at one time: RabbitMQ may take half a second to confirm a batch,
#: of whatever size, since it waits for its disk.
BATCH = 2000


class App(bootsteps.App):
    """An application with tasks.

    `broker` is short for `broker_url`, `backend` for `result_backend`; further settings are keywords or set later on
    `conf`. A name of `__main__` (from `App(__name__)` in a script) becomes the script's name, under which a worker
    imports it.
    """

    settings = SETTINGS

    if TYPE_CHECKING:
        #: Of `bootsteps-control-client`, where that is installed.
        control: Any
        #: Of `bootsteps-consumer-events`, where that is installed.
        events: Any
        #: Of `bootsteps-worker-beat`, where that is installed.
        add_periodic_task: Any
        on_after_configure: Any
        on_after_finalize: Any
    else:

        def __getattr__(self, name: str) -> Any:
            """What an installed plugin adds to applications (entry-point group `app.attributes`), made once."""
            found = attribute_of(self, name)
            vars(self)[name] = found
            self._added.append(found)
            return found

    def __init__(
        self, main: str | None = None, broker: str | None = None, backend: str | None = None, **settings: Any
    ) -> None:
        _merge(settings, "broker_url", broker, "broker")
        _merge(settings, "result_backend", backend, "backend")
        super().__init__(script() if main == "__main__" else main, **settings)
        self._tasks = Registry(lambda name: builtin(self, name))
        self._discoverable: list[Callable[[], Iterable[str]]] = []
        far = lambda: float(self.conf["worker_eta_horizon"])  # noqa: E731
        #: Made with the settings of this stamp.
        self._sender: tuple[Any, Sender] | None = None
        self._publisher = PerProcess(lambda: Publisher(lambda: self.connection(write=True), far))
        self._backend = PerProcess(lambda: open_backend(self))
        self._backends: dict[str, PerProcess[Backend]] = {}
        #: How many of the shared tasks are registered here.
        self.shared_joined = 0
        self._listens = False
        #: What plugins added: it may have connections of its own.
        self._added: list[Any] = []
        self.set_current()

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The registered tasks by name, those of `shared_task` among them."""
        shared.join(self)
        return MappingProxyType(self._tasks)

    def set_current(self) -> None:
        """Make it the application that shared tasks are called for in this process; a new one does so by itself."""
        shared.set_current(self)

    @overload
    def task(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        *,
        bind: Literal[True],
        name: str | None = None,
        base: type[Task[..., Any]] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(
        self,
        *,
        bind: Literal[False] = False,
        name: str | None = None,
        base: type[Task[..., Any]] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(  # type: ignore[misc]
        self,
        fun: Any = None,
        /,
        *,
        bind: bool = False,
        name: str | None = None,
        base: type[Task[..., Any]] | None = None,
        **options: Any,
    ) -> Any:
        """Register a function as a task: `@app.task` or `@app.task(name=..., bind=True, queue=..., ...)`.

        With `bind` the function gets the task as its first argument; `base` is a class derived from `Task`. The name is
        `module.function` unless given. Raises `DuplicateName` when another function has it, TypeError for an unknown
        option.
        """
        if fun is None:
            return lambda function: self._made(function, name, base, bind, options)
        if not callable(fun):
            raise TypeError(f"@app.task decorates a function, not {fun!r}; options are keywords")
        return self._made(fun, name, base, bind, options)

    def _made(self, fun: Any, name: str | None, base: Any, bind: bool, options: dict[str, Any]) -> Task[..., Any]:
        task = made_of(self, fun, name or self.task_name(fun), base, bind, options)
        annotate(task, self.conf["task_annotations"])
        self._tasks.add(task)
        return task

    def register_task(self, task: Task[P, R] | type[Task[P, R]]) -> Task[P, R]:
        """Register a task that is a class with a `run` of its own, or an object of it. Raises `DuplicateName`."""
        found = task() if isinstance(task, type) else task
        found.app = self
        found.__name__ = type(found).__name__
        found.name = found.name or self.task_name(type(found))
        self._tasks.add(found)
        return found

    def task_name(self, fun: Callable[..., Any]) -> str:
        """Return `module.function`, with the application's name for the module that is run as a script."""
        module = fun.__module__
        if module == "__main__":
            module = self.main or script()
        return f"{module}.{fun.__name__}"

    def autodiscover_tasks(
        self, packages: Iterable[str] | Callable[[], Iterable[str]] = (), related_name: str | None = "tasks"
    ) -> None:
        """When a worker starts, import the module `tasks` of each of these packages that has one.

        `packages` may be a function, called then. With `related_name=None` the packages themselves are imported.
        """

        def names() -> Iterable[str]:
            found = packages() if callable(packages) else packages
            return [name for package in found if (name := related(package, related_name))]

        self._discoverable.append(names)

    def advice(self, name: str) -> str:
        """Return what to do instead of a setting of Celery's that is none of ours."""
        from bootsteps_tasks.celerys import advice_on

        return advice_on(name, frozenset(self.conf))

    def load(self) -> Sequence[Any]:
        """Import what `imports` and `include` name and what is discovered; return these modules and its own."""
        self.hooks.announce("on_after_configure", app=self)
        for name in BUILTIN:
            self._tasks[name]
        names = dict.fromkeys((*self.conf["imports"], *self.conf["include"], *self.conf["worker_include"]))
        modules = [_import(self, name) for name in names]
        discovered = dict.fromkeys(name for found in self._discoverable for name in found())
        modules += [_import(self, name) for name in discovered]
        for task in self.tasks.values():
            annotate(task, self.conf["task_annotations"])
        self.hooks.announce("import_modules", app=self)
        self.hooks.announce("on_after_finalize", app=self)
        return [*super().load(), *modules]

    def renew(self, also: Iterable[str] = ()) -> None:
        """Import its modules, and these, anew, and take over the tasks and listeners that are in them then.

        Raises `KernelError` when an import fails; then all is as it was. Settings stay as they are.
        """
        fresh, modules = renewal.imported_anew(self, also)
        self._tasks.clear()
        self._tasks.update(fresh._tasks)
        for task in self._tasks.values():
            task.app = self
        self.shared_joined = fresh.shared_joined
        self.hooks.replace(modules, fresh.hooks)

    def listen(self) -> None:
        """Let the installed `kernel.hooks` plugins hear what happens in this process; once is enough."""
        if not self._listens:
            self._listens = True
            enable_signing(self.conf)
            listen(self)

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
        if self.conf["task_always_eager"]:
            known = self.tasks.get(task) if isinstance(task, str) else task
            if known is not None:
                return known.apply(args, kwargs, **options)
        sent = self.publish(task, args, kwargs, options)
        return Result(sent.message.id, self)

    def publish(
        self,
        task: str | Task[..., Any],
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> Sent:
        """Publish one message, whatever `task_always_eager` says, and return it."""
        self.listen()
        sent = self._current_sender().make(task, args, kwargs, options)
        self._announce("before_task_publish", sent, properties=sent.message.properties)
        self._publisher.get().publish(sent)
        self._note(sent)
        return sent

    def _current_sender(self) -> Sender:
        """Return what makes messages by the settings as they are now."""
        stamp, kept = self.conf.stamp(), self._sender
        if kept is None or kept[0] != stamp:
            self._sender = kept = stamp, Sender(self)
        return kept[1]

    def _announce(self, hook: str, sent: Sent, **facts: Any) -> None:
        if self.hooks.listeners(hook):
            message, route = sent.message, sent.route
            where = {"exchange": route.exchange, "routing_key": route.routing_key}
            self.hooks.announce(hook, name=message.task, id=message.id, headers=message.headers, **facts, **where)

    def _note(self, sent: Sent) -> None:
        self._announce("after_task_publish", sent)
        if self.hooks.listeners("task_sent"):
            headers = sent.message.headers
            told = {"args": headers["argsrepr"], "kwargs": headers["kwargsrepr"], "eta": headers["eta"]}
            self.hooks.announce("task_sent", name=sent.message.task, id=sent.message.id, **told)
        if sent.child:
            note_child(sent.message.id)
        if sent.event:
            self.events.sent(sent)

    def send_many(
        self, calls: Iterable[tuple[str | Task[..., Any], Sequence[Any], Mapping[str, Any], Mapping[str, Any]]]
    ) -> list[Result[Any]]:
        """Publish many messages, `(task or name, args, kwargs, options)` each; the iterable is read as it goes.

        A transport with a bulk way takes 2,000 at a time. When it raises, messages before the one at fault may be out.
        Raises TypeError for what is no such tuple: signatures go out together as a `group`.
        """
        if self.conf["task_always_eager"]:
            made = map(_parts, calls)
            return [self.send_task(task, args, kwargs, **options) for task, args, kwargs, options in made]
        return [Result(sent.message.id, self) for sent in self.publish_many(calls)]

    def publish_many(
        self, calls: Iterable[tuple[str | Task[..., Any], Sequence[Any], Mapping[str, Any], Mapping[str, Any]]]
    ) -> Iterator[Sent]:
        """As `send_many`, whatever `task_always_eager` says; yield the messages as they are out."""
        self.listen()
        sender, publisher = self._current_sender(), self._publisher.get()
        for batch in _batches((sender.make(*_parts(call)) for call in calls), BATCH):
            for sent in batch:
                self._announce("before_task_publish", sent, properties=sent.message.properties)
            publisher.publish_many(batch)
            for sent in batch:
                self._note(sent)
            yield from batch

    def banner(self) -> dict[str, list[str]]:
        """Return what a worker says of its application at the start, by heading; addresses without passwords."""
        from bootsteps_tasks.showing import banner_of

        return banner_of(self)

    def broker_url(self) -> tuple[str, bool]:
        """Return the broker's URL and whether it is the embedded default. Raises `KernelError`."""
        return broker_url(self)

    def connection(self, write: bool = False) -> Any:
        """Return a new `kombu.Connection` to the broker, not yet connected. Raises `KernelError`.

        `write`: to where tasks are published, if the settings part that from where they are fetched.
        """
        return connect(self, write)

    @cached_property
    def clock(self) -> Any:
        """This process's logical clock, a `kombu.clocks.LamportClock`: orders what workers and clients tell."""
        from kombu.clocks import LamportClock

        return LamportClock()

    @property
    def current_task(self) -> Task[..., Any] | None:
        """The task that this thread, or coroutine, is executing."""
        request = current_request()
        return None if request is None or not request.task else self._tasks.get(request.task)

    def queues(self, only: Sequence[str] = ()) -> list[Any]:
        """Return the `kombu.Queue`s that a worker consumes from. Raises `UnknownName`."""
        return pick_queues(self.conf, only)

    @property
    def backend(self) -> Backend:
        """This process's result backend. Raises `KernelError` when `result_backend` names none that is installed."""
        self.listen()
        return self._backend.get()

    def backend_of(self, task: Task[..., Any]) -> Backend:
        """Return the result backend of a task: its own, else the application's."""
        url = task.backend
        if url is None:
            return self.backend
        if url not in self._backends:
            self._backends[url] = PerProcess(lambda: open_backend(self, url))
        return self._backends[url].get()

    def AsyncResult(self, id: str, parent: Any = None) -> Result[Any]:
        """Return the result of the task with this id."""
        return Result(id, self, parent)

    def GroupResult(self, id: str | None = None, results: Iterable[Any] = (), parent: Any = None) -> Group:
        """Return the results of a group."""
        return Group(id, results, self, parent)

    def signature(self, varies: Any, *args: Any, **further: Any) -> Signature:
        """Return a signature that is called for this application. See `bootsteps_tasks.signature`."""
        return signature(varies, *args, app=self, **further)

    def results_of(self, ids: Iterable[str], timeout: float | None = None) -> Iterator[Result[Any]]:
        """Yield results as they become ready, each once. Raises `TimeoutError` `timeout` seconds after the start."""
        return results_of(self, ids, timeout)

    def revoke(
        self,
        ids: str | Iterable[str],
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have tasks not run; with `terminate` end them by a signal (default SIGTERM) where they run.

        Workers that start within three hours get to know, too. With `wait` return when those that are up have answered,
        or none did for `timeout` (default 1) seconds; that needs `bootsteps-control-client`. Raises kombu's
        `OperationalError`.
        """
        remote.revoke(self, ids, terminate, signal, wait=wait, timeout=timeout)

    def close(self) -> None:
        """Close this process's connections to the broker and to its results; all reopen when used."""
        for added in self._added:
            getattr(added, "close", lambda: None)()
        publisher = self._publisher.drop()
        if publisher is not None:
            publisher.close()
        for backend in (self._backend.drop(), *(held.drop() for held in self._backends.values())):
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


def _import(app: App, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as exc:
        what = f"module {name!r} cannot be imported: {type(exc).__name__}: {exc}"
        whose = (f"settings imports and include of application {app.main or 'default'!r}",)
        raise LoadError(what, whose, f"python -c 'import {name}'") from exc


def _parts(call: Any) -> tuple[Any, Any, Any, Any]:
    try:
        task, args, kwargs, options = call
    except (TypeError, ValueError):
        what = "a call is (task or its name, args, kwargs, options); signatures are sent together by group(...).delay()"
        raise TypeError(f"{what}: {call!r:.200}") from None
    return task, args, kwargs, options


def _batches(items: Iterable[R], size: int) -> Iterator[list[R]]:
    batch: list[R] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
