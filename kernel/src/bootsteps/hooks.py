"""Hooks: announcements, heard by steps, by `kernel.hooks` plugins and by functions that an application connects.

Every hook of the house is specified here; those that Celery has as signals have its names. A listener takes as many of
the arguments as it wants, by name. If it fails, that is logged with its name and the others still hear. A hook rings in
the process where the thing happens: `task_prerun` in a pool child, `before_task_publish` wherever tasks are published.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pluggy

from bootsteps.errors import KernelError, did_you_mean

if TYPE_CHECKING:
    import logging

    from bootsteps.services import RunningRequest

__all__ = ["Hooks", "Listener", "hookimpl", "hookspec"]

F = TypeVar("F", bound=Callable[..., Any])

hookspec = pluggy.HookspecMarker("bootsteps")
hookimpl = pluggy.HookimplMarker("bootsteps")


@hookspec
def step_started(blueprint: str, step: str, seconds: float) -> None:
    """A step of a blueprint has started and took so many seconds."""


@hookspec
def step_stopped(blueprint: str, step: str) -> None:
    """A step of a blueprint has stopped."""


@hookspec
def step_failed(blueprint: str, step: str, action: str, error: BaseException) -> None:
    """A step raised while it started, closed or stopped."""


@hookspec
def on_after_configure(app: Any) -> None:
    """The application's settings are known; its modules are about to be imported."""


@hookspec
def on_after_finalize(app: Any) -> None:
    """The application's modules are imported: every task is registered."""


@hookspec
def application_renewed(app: Any) -> None:
    """In the worker's main process: the application's modules were imported anew, and its tasks are others now."""


@hookspec
def beat_init(service: Any) -> None:
    """Periodic tasks are about to be sent, by `kernel beat` or a worker; `service.schedule` is what is sent when."""


@hookspec
def beat_embedded_init(service: Any) -> None:
    """In addition, when a worker sends them."""


@hookspec
def import_modules(app: Any) -> None:
    """The modules that the settings name are to be imported now; a listener may import more."""


@hookspec
def celeryd_init(hostname: str, app: Any) -> None:
    """The worker knows its name and nothing else: a listener may still change the settings."""


@hookspec
def worker_launched(app: Any, hostname: str, command: Sequence[str], folder: str) -> None:
    """`kernel worker` was called; nothing is opened or made yet. `command` calls it again, from `folder`."""


@hookspec
def worker_init(worker: Any) -> None:
    """The worker is made, its steps are not yet."""


@hookspec
def celeryd_after_setup(hostname: str, worker: Any) -> None:
    """The worker's steps are made, none has started."""


@hookspec
def worker_ready(worker: Any) -> None:
    """The worker has started and consumes."""


@hookspec
def worker_shutting_down(worker: Any, sig: str, how: str, exitcode: int) -> None:
    """A process signal asked the worker to end; `sig` is its name, `how` is `Warm` or `Cold`."""


@hookspec
def worker_stopping(worker: Any, how: str) -> None:
    """The worker takes no new work, whoever asked for it; `how` is `warm` or `cold`."""


@hookspec
def tasks_given_back(unstarted: int, interrupted: int) -> None:
    """The worker ends, and gave back to the broker so many tasks before their start, and so many that ran."""


@hookspec
def worker_shutdown(worker: Any) -> None:
    """The worker has stopped: every step of it."""


@hookspec
def worker_before_create_process(pool: Any) -> None:
    """A pool child is about to be made."""


@hookspec
def worker_process_init(hostname: str, app: Any) -> None:
    """In a new pool child, before its first task: make here what must not be shared between processes."""


@hookspec
def worker_process_shutdown(pid: int, exitcode: int) -> None:
    """In a pool child that is about to end of its own accord."""


@hookspec
def setup_logging(loglevel: int, logfile: str | None) -> None:
    """Logging is to be configured. When anybody listens, the worker does not configure it."""


@hookspec
def after_setup_logger(logger: logging.Logger, loglevel: int, logfile: str | None) -> None:
    """The worker has configured the root logger."""


@hookspec
def after_setup_task_logger(logger: logging.Logger, loglevel: int, logfile: str | None) -> None:
    """The worker has configured the logger of tasks."""


@hookspec
def connection_established(url: str) -> None:
    """The consumer is connected; the URL is without its password."""


@hookspec
def connection_lost(url: str, error: BaseException) -> None:
    """The consumer's connection broke and will be made anew."""


@hookspec
def before_task_publish(
    name: str, id: str, headers: dict[str, Any], properties: dict[str, Any], exchange: str, routing_key: str
) -> None:
    """A task is about to be published; a listener may add to or change `headers` and `properties`."""


@hookspec
def after_task_publish(name: str, id: str, headers: dict[str, Any], exchange: str, routing_key: str) -> None:
    """A task was published."""


@hookspec
def task_sent(name: str, id: str, args: str, kwargs: str, eta: str | None) -> None:
    """A task was published, as `after_task_publish` says too; `args` and `kwargs` are reprs, `eta` is in ISO 8601."""


@hookspec
def user_preload_options(command: str, app: Any, options: dict[str, Any]) -> None:
    """A command of an application with options of its own for all commands is about to run; their values by name."""


@hookspec
def pool_started(pool: Any) -> None:
    """The pool, of whatever kind, is there and every step of the worker has started."""


@hookspec
def pool_stopping(pool: Any) -> None:
    """The pool is about to end: no job will be handed to it any more."""


@hookspec
def pool_stopped(pool: Any) -> None:
    """The pool has ended, and every step of the worker has stopped."""


@hookspec
def job_submitted(job: Any) -> None:
    """A job was handed to the pool; a `bootsteps.Job`."""


@hookspec
def task_received(name: str, id: str, request: Any) -> None:
    """A task message came and was accepted. `request` has `id`, `name`, `argsrepr`, `eta`, ..."""


@hookspec
def task_started(request: RunningRequest, routing_key: str) -> None:
    """In the worker's main process: a pool child began a task. Told some milliseconds late, in the order of looks."""


@hookspec
def task_prerun(task: Any, id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """In the process that executes: the task is about to be called."""


@hookspec
def task_postrun(
    task: Any, id: str, args: Sequence[Any], kwargs: dict[str, Any], retval: Any, state: str | None
) -> None:
    """In the process that executes: the run has ended, however it did; `retval` is its result or exception."""


@hookspec
def task_success(task: Any, id: str, result: Any, runtime_s: float) -> None:
    """In the process that executes: the task returned."""


@hookspec
def task_retry(task: Any, id: str, request: Any, reason: BaseException, traceback: str) -> None:
    """In the process that executes: the task will be tried again; the message for that is published."""


@hookspec
def task_failure(
    task: Any, id: str, exception: BaseException, args: Sequence[Any], kwargs: dict[str, Any], traceback: str
) -> None:
    """The task raised; or, in the worker's main process, its child was lost or ran into its hard limit."""


@hookspec
def task_internal_error(task: Any, id: str, request: Any, exception: BaseException, traceback: str) -> None:
    """Something around the task failed, not the task: a handler, a callback's publication."""


@hookspec
def task_settled(
    request: RunningRequest, state: str, runtime_s: float, text: str, traceback: str, routing_key: str
) -> None:
    """In the worker's main process: a run is over, its result stored and its message settled; `text` is a repr."""


@hookspec
def task_revoked(request: Any, terminated: bool, signum: int | None, expired: bool) -> None:
    """A task was revoked, terminated by a signal or too old; it is settled. `request` has `id`, `name`, ..."""


@hookspec
def task_cancelled(request: Any) -> None:
    """A task that runs is given back, since its worker ends at once. `request` has `id`, `name`, ..."""


@hookspec
def task_unknown(name: str, id: str, message: Any, error: BaseException) -> None:
    """A message asks for a task that is not registered here; told at each of its deliveries."""


@hookspec
def task_rejected(message: Any, error: BaseException) -> None:
    """A message that is no usable task was refused."""


@hookspec
def task_quarantined(id: str, name: str, queue: str, reason: str) -> None:
    """A task was given up and its message parked in a queue."""


@hookspec
def heartbeat_sent(heart: Any) -> None:
    """The worker told those who listen to events that it is alive."""


@hookspec
def child_lost(pid: int, reason: str) -> None:
    """A pool child died without being told to."""


@hookspec
def pool_resized(size: int) -> None:
    """The pool has another number of children than before."""


class Listener(NamedTuple):
    """Whoever hears a hook."""

    name: str
    function: Callable[..., Any]
    #: The facts that it takes, by name and in order; None for all of them.
    wants: Sequence[str] | None
    #: Hears only of this: compared with the hook's first fact, with the name of that, and with its text.
    sender: object = None

    def hear(self, facts: dict[str, Any]) -> None:
        """Call it."""
        if self.wants is None:
            self.function(**facts)
        else:
            self.function(**{name: facts[name] for name in self.wants})

    def minds(self, facts: dict[str, Any]) -> bool:
        """Tell whether it wants to hear of this."""
        if self.sender is None:
            return True
        first = next(iter(facts.values()), None)
        return self.sender is first or self.sender in (getattr(first, "name", None), str(first))


class Hooks:
    """Calls the listeners, each on its own. What is announced here is heard in `outer` too."""

    def __init__(self, outer: Hooks | None = None) -> None:
        self._outer = outer
        self._manager = pluggy.PluginManager("bootsteps")
        self._manager.add_hookspecs(sys.modules[__name__])
        self._connected: dict[str, list[Listener]] = {}
        self._listeners: dict[str, tuple[Listener, ...]] = {}

    def register(self, plugin: object, name: str) -> None:
        """Let the plugin's `@hookimpl` methods hear. Raises `KernelError` for a hook that does not exist."""
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as exc:
            self.unregister(plugin)
            raise KernelError(
                str(exc).replace(repr(plugin), name), (name,), "see bootsteps.hooks for the hooks and their arguments"
            ) from exc
        self._listeners.clear()

    def adopt(self, plugins: Iterable[tuple[str, object]]) -> None:
        """Register those, each with its name, that are not registered yet. Raises `KernelError`, as `register`."""
        for name, plugin in plugins:
            if not self.has(name):
                self.register(plugin, name)

    def unregister(self, plugin: object) -> None:
        """Let the plugin hear no more; nothing happens if it did not."""
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)
            self._listeners.clear()

    def has(self, name: str) -> bool:
        """Tell whether a plugin of this name is registered."""
        return self._manager.has_plugin(name)

    def connect(self, hook: str, *, sender: object = None, name: str | None = None) -> Callable[[F], F]:
        """Decorate a function that shall hear a hook: `@app.hooks.connect("task_failure", sender="proj.add")`.

        It takes the hook's arguments that its parameters name, or all with `**facts`. With a `name` it replaces the
        function that was connected under it. Raises `KernelError` for a hook that does not exist.
        """
        spec = getattr(sys.modules[__name__], hook, None)
        if not hasattr(spec, "bootsteps_spec"):
            near = did_you_mean(hook, _specified())
            raise KernelError(f"there is no hook {hook!r}", (), near or "see bootsteps.hooks for the hooks")

        def decorator(fun: F) -> F:
            known = name or f"{fun.__module__}.{fun.__qualname__}"
            listener = Listener(known, fun, _wanted(spec, fun, known), sender)
            others = [other for other in self._connected.get(hook, []) if name is None or other.name != name]
            self._connected[hook] = [*others, listener]
            self._listeners.clear()
            return fun

        return decorator

    def replace(self, modules: Container[str], other: Hooks) -> None:
        """Let the functions of these modules hear no more, and those that are connected to `other` instead."""
        for hook in {*self._connected, *other._connected}:
            kept = [one for one in self._connected.get(hook, ()) if one.function.__module__ not in modules]
            self._connected[hook] = [*kept, *other._connected.get(hook, ())]
        self._listeners.clear()

    def disconnect(self, hook: str, fun: Callable[..., Any]) -> bool:
        """Let a connected function hear no more; tell whether it did."""
        before = self._connected.get(hook, [])
        self._connected[hook] = [listener for listener in before if listener.function is not fun]
        self._listeners.clear()
        return len(self._connected[hook]) < len(before)

    def announce(self, hook: str, **facts: Any) -> None:
        """Tell every listener of this hook; the first fact is what `sender` is compared with."""
        for listener in self.listeners(hook):
            try:
                if listener.minds(facts):
                    listener.hear(facts)
            except Exception:
                import logging  # a program that only answers has nothing to log

                logging.getLogger("bootsteps.hooks").exception("listener %s of %s failed", listener.name, hook)

    def listeners(self, hook: str) -> tuple[Listener, ...]:
        """Return the listeners; none = the announcement can be spared."""
        found = self._listeners.get(hook)
        if found is None:
            impls = reversed(getattr(self._manager.hook, hook).get_hookimpls())  # pluggy's order: last in, first called
            own = [Listener(impl.plugin_name, impl.function, impl.argnames) for impl in impls]
            found = self._listeners[hook] = (*own, *self._connected.get(hook, ()))
        outer = self._outer.listeners(hook) if self._outer is not None else ()
        return found + outer if outer else found


def _specified() -> list[str]:
    return [name for name, value in vars(sys.modules[__name__]).items() if hasattr(value, "bootsteps_spec")]


def _wanted(spec: Any, fun: Callable[..., Any], name: str) -> Sequence[str] | None:
    parameters = inspect.signature(fun).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    known = inspect.signature(spec).parameters
    for parameter in parameters:
        if parameter.name not in known and parameter.default is parameter.empty:
            what = f"{name} wants {parameter.name!r}, which hook {spec.__name__} does not tell"
            raise KernelError(what, (name,), f"it tells {', '.join(known)}")
    return [parameter.name for parameter in parameters if parameter.name in known]
