"""One run of one task, from the first handler to what is stored: the same in a pool child and in eager mode."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from time import monotonic
from typing import TYPE_CHECKING, Any

from bootsteps_tasks.backend import encode, meta
from bootsteps_tasks.errors import Ignore, NotRegistered, Reject, Retry
from bootsteps_tasks.request import executing
from bootsteps_tasks.retrying import retry_if_wanted
from bootsteps_tasks.task import Task

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.canvas.following import Following
    from bootsteps_tasks.request import Context

__all__ = ["Ending", "Failure", "Run", "RunSettings"]

log = logging.getLogger("bootsteps.task")

#: Values of these types fit into every serializer.
PLAIN = frozenset({type(None), bool, int, float, str})
#: Frames of these modules are the worker's own: a user wants to read about the task.
OWN = frozenset({__name__, "bootsteps_tasks.task", "bootsteps_tasks.arguments", "bootsteps_consumer_tasks.runner"})


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception and its traceback, as handlers get it (Celery's `einfo`)."""

    exception: BaseException
    traceback: str

    def __str__(self) -> str:
        return self.traceback


@dataclass(slots=True)
class Ending:
    """How a run ended."""

    #: SUCCESS, FAILURE, RETRY, IGNORED, REJECTED or REQUEUED.
    state: str
    #: The result or the exception.
    value: Any
    #: Of the exception; empty for one that the task is known to raise (`throws`).
    traceback: str = ""
    #: To be stored; None = nothing.
    meta: Mapping[str, Any] | None = None
    #: To be settled when that is stored: `canvas.chords.settle`.
    following: Following | None = None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the settings say of every run, for who reads them once: that takes some µs for each."""

    #: Of the dates that are stored.
    zone: tzinfo
    #: `result_extended`
    extended: bool

    @classmethod
    def of(cls, app: App) -> RunSettings:
        """Read them."""
        from bootsteps_tasks.sender import zone_of

        return cls(zone_of(app.conf), app.conf["result_extended"])


class Run:
    """One run of one task.

    `with run.context:` around it all; `begin`, then the call, then `succeeded` with its result; whatever any of these
    raises goes to `failed`. `trace` does just that.
    """

    def __init__(
        self,
        app: App,
        task: Task[..., Any] | None,
        context: Context,
        tracked: bool | None = None,
        settings: RunSettings | None = None,
    ) -> None:
        """`tracked`: what the task's `track_started` is, for who has read it before."""
        self._tracked = tracked
        self._settings = settings
        self._app = app
        self._task = task
        assert context.id is not None, "a run is of a message, or of an eager call that gave itself an id"
        self._id: str = context.id
        self._request = context
        self._started = monotonic()
        self._begun = False

    @property
    def context(self) -> executing:
        """Makes the request the current one."""
        return executing(self._request)

    def begin(self) -> None:
        """Announce the run. Raises what a handler raises, and `NotRegistered` when there is no such task."""
        task, request = self._registered, self._request
        self._begun = True
        if (task.track_started if self._tracked is None else self._tracked) and not self._ignored():
            self._store_started()
        if _handled(task, "before_start"):
            task.before_start(self._id, request.args, request.kwargs)
        if self._app.hooks.listeners("task_prerun"):
            self._announce("task_prerun", args=request.args, kwargs=request.kwargs)
        self._started = monotonic()

    @property
    def _registered(self) -> Task[..., Any]:
        if self._task is None:
            raise NotRegistered(self._request.task)
        return self._task

    def call(self) -> Any:
        """Call the task."""
        task = self._task
        return (self._registered if task is None else task)(*self._request.args, **self._request.kwargs)

    def succeeded(self, result: Any) -> Ending:
        """Return the ending of a run that returned. Raises what makes it a failure all the same."""
        task, request = self._registered, self._request
        stored = not self._ignored()
        if (stored or request.chord is not None) and type(result) not in PLAIN:
            encode(result, self._app.conf["result_serializer"])
        following = None
        if request.callbacks or request.chain or request.chord is not None:
            from bootsteps_tasks.canvas.following import after_success

            following = after_success(self._app, request, result)
        if self._app.hooks.listeners("task_success"):
            self._announce("task_success", result=result, runtime_s=monotonic() - self._started)
        if _handled(task, "on_success"):
            self._guard(lambda: task.on_success(result, self._id, request.args, request.kwargs))
        found = self._meta("SUCCESS", result) if stored else None
        return self._end(Ending("SUCCESS", result, meta=found, following=following))

    def failed(self, exc: BaseException, state: str = "FAILURE") -> Ending:
        """Return the ending of a run that raised, which may be a wish to be retried, ignored or rejected.

        Also of one that did not begin, or not end: then `state` is what somebody else decided, e.g. REVOKED.
        """
        try:
            if self._task is not None and self._begun:
                retry_if_wanted(self._task, exc)
        except BaseException as other:  # a Retry, or the attempts' last error
            exc = other
        if isinstance(exc, Ignore):
            return self._end(Ending("IGNORED", exc))
        if isinstance(exc, Reject) and exc.requeue:
            return self._end(Ending("REQUEUED", exc))
        failure = Failure(exc, _text(exc))
        if isinstance(exc, Reject):
            found = self._meta("FAILURE", exc, failure.traceback)
            return self._end(Ending("REJECTED", exc, failure.traceback, found, self._following(exc, failure)))
        return self._retried(exc, failure) if isinstance(exc, Retry) else self._raised(exc, failure, state)

    def _retried(self, exc: Retry, failure: Failure) -> Ending:
        task, request = self._registered, self._request
        reason = exc.exc or exc
        if self._app.hooks.listeners("task_retry"):
            self._announce("task_retry", request=request, reason=exc, traceback=failure.traceback)
        if _handled(task, "on_retry"):
            self._guard(lambda: task.on_retry(reason, self._id, request.args, request.kwargs, failure))
        found = None if self._ignored() else self._meta("RETRY", reason, failure.traceback)
        return self._end(Ending("RETRY", exc, failure.traceback, found), failure)

    def _raised(self, exc: BaseException, failure: Failure, state: str) -> Ending:
        task = self._task
        if state == "FAILURE":
            self._tell_of_failure(exc, failure)
        expected = task is not None and isinstance(exc, task.throws)
        # Somebody else's decision is stored in any case: the one who made it, or who waits, looks for it.
        stored = not self._ignored() or not self._begun or (task is not None and task.store_errors_even_if_ignored)
        found = self._meta(state, exc, failure.traceback) if stored else None
        text, following = "" if expected else failure.traceback, self._following(exc, failure, state)
        return self._end(Ending(state, exc, text, found, following), failure)

    def _tell_of_failure(self, exc: BaseException, failure: Failure) -> None:
        task, request = self._task, self._request
        if self._app.hooks.listeners("task_failure"):
            facts = {"exception": exc, "args": request.args, "kwargs": request.kwargs}
            self._announce("task_failure", **facts, traceback=failure.traceback)
        if task is not None and _handled(task, "on_failure"):
            self._guard(lambda: task.on_failure(exc, self._id, request.args, request.kwargs, failure))

    def _following(self, exc: BaseException, failure: Failure, state: str = "FAILURE") -> Following | None:
        """What follows from a failure, for the tasks that depend on this one."""
        request = self._request
        if not request.errbacks and not request.chain and request.chord is None:
            return None
        from bootsteps_tasks.canvas.following import after_failure

        try:
            return after_failure(self._app, request, exc, failure.traceback, state)
        except Exception:
            # A message may name anything as its followers.
            log.exception("what follows the failure of task %s[%s] cannot be read", request.task, self._id)
            return None

    def _end(self, ending: Ending, failure: Failure | None = None) -> Ending:
        task, request = self._task, self._request
        if task is None or not self._begun:
            return ending
        if ending.state in ("SUCCESS", "FAILURE", "RETRY") and _handled(task, "after_return"):
            self._guard(
                lambda: task.after_return(ending.state, ending.value, self._id, request.args, request.kwargs, failure)
            )
        if self._app.hooks.listeners("task_postrun"):
            facts = {"args": request.args, "kwargs": request.kwargs, "retval": ending.value, "state": ending.state}
            self._announce("task_postrun", **facts)
        return ending

    def _guard(self, handler: Callable[[], Any]) -> None:
        """Call a handler; its own failure is logged, and changes nothing of the run."""
        try:
            handler()
        except Exception as exc:
            log.exception("a handler of task %s[%s] failed", self._request.task, self._id)
            if self._app.hooks.listeners("task_internal_error"):
                self._announce("task_internal_error", request=self._request, exception=exc, traceback=_text(exc))

    def _announce(self, hook: str, **facts: Any) -> None:
        self._app.hooks.announce(hook, task=self._task, id=self._id, **facts)

    def _ignored(self) -> bool:
        ignore = self._request.ignore_result
        return bool(self._task is not None and self._task.ignore_result) if ignore is None else ignore

    def _store_started(self) -> None:
        found = {"pid": os.getpid(), "hostname": self._request.hostname}
        self._app.backend_of(self._registered).store([self._meta("STARTED", found)])
        self._request.state_stored = True

    def _meta(self, state: str, result: Any, text: str | None = None) -> Mapping[str, Any]:
        request, task = self._request, self._task
        settings = self._settings or RunSettings.of(self._app)
        known: dict[str, Any] = {"group_id": request.group, "parent_id": request.parent_id}
        if settings.extended:
            known |= _extended(request)
        children = request.children if task is None or task.trail else ()
        known = {key: value for key, value in known.items() if value is not None}
        known |= {"reply_to": request.reply_to, "correlation_id": request.correlation_id}
        first = not (request.state_stored or request.retries or request.delivery_info.get("redelivered"))
        return meta(self._id, state, result, text, children, zone=settings.zone, first=first, **known)


def _extended(request: Context) -> dict[str, Any]:
    """What `result_extended` adds (wire reference 15.1)."""
    info = request.delivery_info
    found: dict[str, Any] = {
        "name": request.task,
        "args": request.args,
        "kwargs": request.kwargs,
        "worker": request.hostname,
    }
    found |= {"retries": request.retries, "queue": info.get("routing_key")}
    if request.stamped_headers:
        found |= {"stamped_headers": request.stamped_headers, **dict(request.stamps or {})}
    return found


def _handled(task: Task[..., Any], handler: str) -> bool:
    """Tell whether the task has a handler of its own."""
    return getattr(type(task), handler) is not getattr(Task, handler)


def _text(exc: BaseException) -> str:
    """Return the traceback without the worker's own frames."""
    frames = exc.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in OWN:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(exc), exc, frames))
