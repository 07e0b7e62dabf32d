"""A function that runs somewhere else when asked to."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from bootsteps_tasks.errors import Retry
from bootsteps_tasks.options import CallOptions
from bootsteps_tasks.request import Context, current_request

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.canvas import Signature
    from bootsteps_tasks.result import AsyncResult, EagerResult
    from bootsteps_tasks.trace import Failure

__all__ = ["FROM_SETTINGS", "Task"]

P = ParamSpec("P")
R = TypeVar("R")

#: The options of a task that a call may override.
SENT = (
    *("queue", "exchange", "routing_key", "priority", "delivery_mode", "expires"),
    *("serializer", "compression", "time_limit", "soft_time_limit"),
)


class _Either:
    """A task's own choice, or while that is None the application's setting, read each time."""

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_own_{name}"

    def __get__(self, task: Any, owner: type) -> Any:
        if task is None:
            return self
        own = getattr(task, self._name, None)
        return task.app.conf[self._setting] if own is None else own

    def __set__(self, task: Any, value: Any) -> None:
        setattr(task, self._name, value)


class _EitherOrBoth(_Either):
    """The same for a setting that an older one, of two in one, overrides."""

    def __get__(self, task: Any, owner: type) -> Any:
        both = None if task is None else task.app.conf["task_acks_on_failure_or_timeout"]
        own = None if task is None else getattr(task, self._name, None)
        return both if own is None and both is not None else super().__get__(task, owner)


class Task(Generic[P, R]):
    """A registered task: call it here, or `delay` it to a worker. Made by `@app.task`.

    Derive from it for tasks that share options or handlers (`@app.task(base=Mine)`), or that are a class with a `run`
    of its own (`app.register_task(Mine())`): every option of `@app.task` may stand in the class. There is one object
    per process, so what `__init__` makes lives as long as that.
    """

    app: App
    name: str = ""
    __name__: str
    #: Whether `run` takes the task as its first argument.
    bind: bool = False
    queue: Any = None
    exchange: Any = None
    routing_key: str | None = None
    priority: int | None = None
    delivery_mode: int | str | None = None
    expires: float | datetime | str | None = None
    serializer: str | None = None
    compression: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: Any = _Either("task_ignore_result")
    acks_late: Any = _Either("task_acks_late")
    acks_on_failure: Any = _EitherOrBoth("task_acks_on_failure")
    acks_on_timeout: Any = _EitherOrBoth("task_acks_on_timeout")
    acks_on_failure_or_timeout: bool | None = None
    reject_on_worker_lost: Any = _Either("task_reject_on_worker_lost")
    retry_on_worker_lost: Any = _Either("task_retry_on_worker_lost")
    track_started: Any = _Either("task_track_started")
    store_errors_even_if_ignored: Any = _Either("task_store_errors_even_if_ignored")
    store_eager_result: Any = _Either("task_store_eager_result")
    rate_limit: Any = _Either("task_default_rate_limit")
    max_retries: int | None = 3
    default_retry_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    throws: tuple[type[BaseException], ...] = ()
    typing: bool = True
    trail: bool = True
    send_events: bool = True
    resultrepr_maxsize: int = 1024
    backend: str | None = None
    pydantic: bool = False
    pydantic_strict: bool = False
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None
    #: Who looks on in the worker's main process, and what takes the messages there: see `bootsteps_consumer_tasks`.
    Request: Any = None
    Strategy: Any = None
    #: The function itself.
    run: Callable[..., R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self.run(*args, **kwargs)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Ask a worker to run it with these arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Ask a worker to run it.

        Raises TypeError for arguments that the function does not take and for unknown options, kombu's `EncodeError`
        for arguments that cannot be serialized, and kombu's `OperationalError` when the broker cannot be reached.
        """
        return self.app.send_task(self, args, kwargs, **options)

    def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        throw: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> EagerResult[R]:
        """Run it here as a worker would, with its handlers, hooks and retries, and return its result.

        With `throw` (default: the setting `task_eager_propagates`) its exception is raised.
        """
        from bootsteps_tasks.eager import apply

        return apply(self, args, kwargs, throw, options)

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature: this call, to be made later."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature that takes no further arguments, e.g. none from the task before it in a chain."""
        return self.signature(args, kwargs, immutable=True)

    def signature(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **further: Any,
    ) -> Signature:
        """Return a signature with options, as of `apply_async`."""
        from bootsteps_tasks.canvas import Signature

        return Signature(self, args, kwargs, options, immutable=immutable, **further)

    subtask = signature

    def map(self, it: Iterable[Any]) -> Signature:
        """Return a signature that runs it for each item, in one message; its result is the list of results."""
        from bootsteps_tasks.canvas import xmap

        return xmap(self.s(), it)

    def starmap(self, it: Iterable[Any]) -> Signature:
        """As `map`, each item being the arguments of one call."""
        from bootsteps_tasks.canvas import xstarmap

        return xstarmap(self.s(), it)

    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """Return a signature that runs it for each item, `n` of them in one message."""
        from bootsteps_tasks.canvas import chunks

        return chunks(self.s(), it, n)

    def replace(self, sig: Any) -> Any:
        """Let a signature, of any kind, run in this task's place: use it as `raise self.replace(sig)`.

        It keeps the id, so its result is this task's; what was to follow follows it.
        """
        from bootsteps_tasks.canvas.replacing import replace

        return replace(self, sig)

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add a task to the chord whose part this is, and send it; with `lazy`, return the signature unsent.

        Raises `KernelError` when the result backend does not count parts itself, ValueError outside a chord.
        """
        from bootsteps_tasks.canvas.replacing import add_to_chord

        return add_to_chord(self, sig, lazy)

    def add_trail(self, result: Any) -> Any:
        """Count a result among the children of this run, and return it."""
        if self.trail:
            self.request.children.append(result.as_tuple())
        return result

    def on_replace(self, sig: Any) -> Any:
        """Handler: send what replaces this run."""
        from bootsteps_tasks.canvas.replacing import take_over

        return take_over(self, sig)

    def AsyncResult(self, task_id: str) -> AsyncResult[R]:
        """Return the result of the run of this id."""
        return self.app.AsyncResult(task_id)

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError when the function cannot be called so."""
        if self.typing and (kwargs or len(args) not in self._takes):
            try:
                self.signature_of_run.bind(*args, **kwargs)
            except TypeError as exc:
                raise TypeError(f"{self.name}() {exc}") from None

    @cached_property
    def signature_of_run(self) -> inspect.Signature:
        """The parameters of `run`, without the task itself."""
        return inspect.signature(self.run)

    @cached_property
    def _takes(self) -> range:
        """How many arguments it can be called with if none of them has a name: binding them takes ten times as long."""
        least = most = 0
        for parameter in self.signature_of_run.parameters.values():
            needed = parameter.default is parameter.empty
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                least, most = least + needed, most + 1
            elif parameter.kind is parameter.VAR_POSITIONAL:
                most = sys.maxsize - 1
            elif parameter.kind is parameter.KEYWORD_ONLY and needed:
                return range(0)
        return range(least, most + 1)

    @property
    def request(self) -> Context:
        """The request that is being executed; an empty one when the task was called as a function."""
        current = current_request()
        return current if current is not None and current.task == self.name else Context(task=self.name)

    def call_options(self) -> dict[str, Any]:
        """The options that the task itself gives to each of its messages."""
        found = {option: value for option in SENT if (value := getattr(self, option)) is not None}
        found["ignore_result"] = bool(self.ignore_result)
        return found

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        exc: BaseException | None = None,
        throw: bool = True,
        max_retries: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Retry:
        """Publish this run's message again and raise `Retry`; use it as `raise self.retry(...)`.

        `countdown` is in seconds (default: the task's `default_retry_delay`). Raises `exc`, or without one
        `MaxRetriesExceededError`, when the attempts are used up, and `Reject` when the message cannot be published.
        """
        from bootsteps_tasks.retrying import retry

        found = retry(self, args, kwargs, exc, max_retries, dict(options))
        if throw:
            raise found
        return found

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None) -> None:
        """Store a state of your own, e.g. `PROGRESS` with a mapping that JSON can hold; readers see it as `result`.

        Of this run unless `task_id` names another. Nothing is stored for a run whose result is ignored.
        """
        from bootsteps_tasks.backend import meta as describe

        request = self.request
        task_id = task_id or request.id
        if task_id is None:
            raise RuntimeError(f"{self.name} was called as a function: there is no result to update")
        own: dict[str, Any] = {}
        if task_id == request.id:
            own = {"reply_to": request.reply_to, "correlation_id": request.correlation_id}
            request.state_stored = True
        self.app.backend_of(self).store([describe(task_id, state or "PROGRESS", meta, **own)])

    def send_event(
        self, type_: str, retry: bool = True, retry_policy: Mapping[str, Any] | None = None, **fields: Any
    ) -> None:
        """Tell monitors something of this run: `self.send_event("task-progress", done=3)`; fields as JSON can hold.

        A broker that is away is logged and fails nothing; with `retry` it is tried twice, whatever the policy.
        Raises kombu's `EncodeError` for fields that cannot be serialized; needs `bootsteps-consumer-events`.
        """
        request = self.request
        self.app.events.tell(type_, {"uuid": request.id, **fields}, request.hostname, retry)

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Return a name to show in logs and events instead of the task's for this call; None for the task's own."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Handler: called in the process that executes, just before the run."""

    def on_success(self, retval: R, task_id: str, args: Any, kwargs: Any) -> None:
        """Handler: the run returned."""

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Failure) -> None:
        """Handler: the run will be tried again."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Failure) -> None:
        """Handler: the run raised; `einfo.traceback` is the text."""

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Failure | None
    ) -> None:
        """Handler: the run has ended in the state `status`; `retval` is its result or exception."""

    def __repr__(self) -> str:
        app = getattr(self, "app", None)
        return f"<@task: {self.name} of {(app.main if app else None) or 'default'}>"


#: Options that the application's settings decide while a task leaves them alone.
FROM_SETTINGS: frozenset[str] = frozenset(name for name, value in vars(Task).items() if isinstance(value, _Either))
