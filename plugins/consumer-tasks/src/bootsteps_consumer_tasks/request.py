"""What a task's own class may do in the worker's main process: look on, or take its messages another way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bootsteps import KernelError

if TYPE_CHECKING:
    from bootsteps_tasks import Task
    from bootsteps_tasks.message import TaskHeaders

__all__ = ["ExceptionInfo", "Request", "Watch", "named", "watcher_of"]

log = logging.getLogger("worker.Requests")


@dataclass(frozen=True, slots=True)
class ExceptionInfo:
    """How a task failed, as far as the main process knows: it never sees the exception that a child raised."""

    #: The exception itself where the main process made it (limits, lost children), else one with its text.
    exception: BaseException
    traceback: str


class Request:
    """Looks on a task from the main process: it hears also of ends that no child could tell of.

    Derive from it and name the class in the task: `Request = Mine`, or `"package.module:Mine"`. Its methods are called
    in the loop, which waits for them: they must be short. Those that are here do nothing.
    """

    def __init__(self, task: Task[..., Any], headers: TaskHeaders, delivery_info: Mapping[str, Any], hostname: str):
        self.task = task
        self.headers = headers
        self.delivery_info = delivery_info
        self.hostname = hostname
        self.id = headers.id
        self.name = headers.name
        #: Of the child that runs it, and when it began (Unix seconds); None before `on_accepted`.
        self.worker_pid: int | None = None
        self.time_start: float | None = None

    def __getattr__(self, name: str) -> Any:
        """What the message says: `request.eta`, `request.root_id`, ..."""
        if name == "headers":
            raise AttributeError(name)
        return getattr(self.headers, name)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """A child has begun it. A short task is told of just before its end."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit, in seconds, was reached: the soft one, or the hard one that ended it."""

    def on_success(self, failed__retval__runtime: tuple[bool, Any, float], **kwargs: Any) -> None:
        """It returned: False, the text of what it returned, seconds."""

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """It failed for good: it raised, was killed at its limit, or its child died and it is not tried again."""

    def on_retry(self, exc_info: ExceptionInfo) -> None:
        """It will be tried again, since it said so."""


class Watch:
    """The request of one task, called so that what it raises harms nobody."""

    __slots__ = ("_request", "_told")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._told = False

    def accepted(self, pid: int, time_start: float) -> None:
        """It has begun; told once."""
        if not self._told:
            self._told = True
            self._request.worker_pid, self._request.time_start = pid, time_start
            self._call(self._request.on_accepted, pid, time_start)

    def timed_out(self, soft: bool, limit_s: float) -> None:
        """A limit was reached."""
        self._call(self._request.on_timeout, soft, limit_s)

    def ended(self, state: str, text: str, traceback: str, runtime_s: float, error: BaseException | None) -> None:
        """It has ended in this state."""
        if state == "SUCCESS":
            self._call(self._request.on_success, (False, text, runtime_s))
        elif state in ("FAILURE", "RETRY"):
            from bootsteps_tasks.errors import TaskError

            told = self._request.on_failure if state == "FAILURE" else self._request.on_retry
            self._call(told, ExceptionInfo(error or TaskError(text), traceback))

    def _call(self, method: Callable[..., object], *args: Any) -> None:
        try:
            method(*args)
        except Exception:
            log.exception("%s of %s[%s] failed", method.__qualname__, self._request.name, self._request.id)


def named(task: Task[..., Any], option: str) -> Any:
    """Return what a task's option names, itself or as `"module:name"`; None for the default. Raises `KernelError`."""
    given = getattr(task, option, None)
    if not isinstance(given, str):
        return given
    module, _, name = given.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        what = f"the option {option} of the task {task.name} names {given!r}, which cannot be imported: {exc}"
        raise KernelError(what, (f"task {task.name}",), "write it as package.module:Name") from exc


def watcher_of(task: Task[..., Any]) -> Callable[..., Request] | None:
    """Return the class that looks on a task; None for the one that does nothing. Raises `KernelError`."""
    found = named(task, "Request")
    if found is None or found is Request:
        return None
    if not (isinstance(found, type) and issubclass(found, Request)):
        what = f"the option Request of the task {task.name} is {found!r}, which is no class of requests"
        raise KernelError(what, (f"task {task.name}",), "derive it from bootsteps_consumer_tasks.Request")
    return found
