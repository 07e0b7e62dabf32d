"""A function that runs somewhere else when asked to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from bootsteps_tasks.errors import MaxRetriesExceededError, Reject, Retry
from bootsteps_tasks.options import TASK_OPTIONS, CallOptions, TaskOptions, refuse_unknown
from bootsteps_tasks.request import Context, current_request, executing

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.message import TaskHeaders
    from bootsteps_tasks.result import AsyncResult

__all__ = ["Task"]

P = ParamSpec("P")
R = TypeVar("R")

#: The options of a task that a call may override.
SENT = (
    *("queue", "exchange", "routing_key", "priority", "expires"),
    *("serializer", "compression", "time_limit", "soft_time_limit"),
)
FROM_SETTINGS = ("ignore_result", "acks_late", "track_started", "store_errors_even_if_ignored")


class _Either:
    """A task's own choice, or while that is None the application's setting, read each time."""

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_own_{name}"

    def __get__(self, task: Any, owner: type) -> bool:
        if task is None:
            return self  # type: ignore[return-value]
        own = getattr(task, self._name)
        return bool(task.app.conf[self._setting]) if own is None else own

    def __set__(self, task: Any, value: bool | None) -> None:
        setattr(task, self._name, value)


class Task(Generic[P, R]):
    """A registered task: call it here, or `delay` it to a worker. Made by `@app.task`."""

    __name__: str
    queue: Any
    exchange: Any
    routing_key: str | None
    priority: int | None
    expires: float | datetime | str | None
    serializer: str | None
    compression: str | None
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result = _Either("task_ignore_result")
    acks_late = _Either("task_acks_late")
    track_started = _Either("task_track_started")
    store_errors_even_if_ignored = _Either("task_store_errors_even_if_ignored")
    max_retries: int | None
    default_retry_delay: float
    throws: tuple[type[BaseException], ...]
    typing: bool

    def __init__(
        self, app: App, run: Callable[..., R], name: str, *, bind: bool = False, **options: Unpack[TaskOptions]
    ) -> None:
        refuse_unknown(f"task {name!r}", options, TASK_OPTIONS)
        update_wrapper(self, run)
        self.app = app
        self.name = name
        #: The function itself; takes the task as its first argument when `bind`.
        self.run = run
        self.bind = bind
        for option in SENT:
            setattr(self, option, options.get(option))
        for option in FROM_SETTINGS:
            setattr(self, option, options.get(option))
        self.max_retries = options.get("max_retries", 3)
        self.default_retry_delay = options.get("default_retry_delay", 180.0)
        self.throws = tuple(options.get("throws", ()))
        self.typing = options.get("typing", True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self.run(self, *args, **kwargs) if self.bind else self.run(*args, **kwargs)

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

    def check_arguments(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError when the function cannot be called so."""
        if self.typing:
            try:
                self._signature.bind(*((self,) if self.bind else ()), *args, **kwargs)
            except TypeError as exc:
                raise TypeError(f"{self.name}() {exc}") from None

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.run)

    @property
    def request(self) -> Context:
        """The request that is being executed; an empty one when the task was called as a function."""
        current = current_request()
        return current if current is not None and current.task == self.name else Context(task=self.name)

    def executing(
        self,
        headers: TaskHeaders,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        delivery_info: Mapping[str, Any],
        hostname: str,
        *,
        raw: Mapping[str, Any] | None = None,
        embed: Mapping[str, Any] | None = None,
    ) -> executing:
        """`with task.executing(...):` is how a worker runs it: `request` tells of this message inside.

        `raw` are the message's headers as they came, `embed` is the third part of its body.
        """
        return executing(Context.of(headers, args, kwargs, delivery_info, hostname, raw or {}, embed or {}))

    def call_options(self) -> dict[str, Any]:
        """The options that the task itself gives to each of its messages."""
        found = {option: getattr(self, option) for option in SENT}
        found["ignore_result"] = self.ignore_result
        return {option: value for option, value in found.items() if value is not None}

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
        request = self.request
        if request.called_directly:
            raise exc or RuntimeError(f"{self.name} was called as a function: there is no message to retry")
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries >= limit:
            raise exc or MaxRetriesExceededError(f"{self.name}[{request.id}] was tried {request.retries + 1} times")
        countdown, eta = options.pop("countdown", None), options.pop("eta", None)
        if eta is None and countdown is None:
            countdown = self.default_retry_delay
        when = countdown if eta is None else eta
        again: dict[str, Any] = {**_repeated(request), **options, "countdown": countdown, "eta": eta}
        try:
            self.app.send_task(
                self, request.args if args is None else args, request.kwargs if kwargs is None else kwargs, **again
            )
        except Exception as failure:
            raise Reject(failure, requeue=False) from failure
        found = Retry(f"Retry in {when}s" if eta is None else f"Retry at {when}", exc, when)
        if throw:
            raise found
        return found

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app.main or 'default'}>"


def _repeated(request: Context) -> dict[str, Any]:
    """The parts of a message that its next attempt keeps (wire reference 3.6, Retry).

    The parent (itself) and the root come by themselves, as for every message that a task publishes.
    """
    queue = request.delivery_info.get("routing_key") if not request.delivery_info.get("exchange") else None
    hard, soft = request.timelimit or (None, None)
    found = {
        "task_id": request.id,
        "retries": request.retries + 1,
        "group_id": request.group,
        "group_index": request.group_index,
        "expires": request.expires,
        "time_limit": hard,
        "soft_time_limit": soft,
        "ignore_result": request.ignore_result,
        "shadow": request.shadow,
        "reply_to": request.reply_to,
        "queue": queue,
    }
    return {name: value for name, value in found.items() if value is not None}
