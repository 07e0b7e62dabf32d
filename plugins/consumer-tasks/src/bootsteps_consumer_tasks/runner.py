"""What a pool child does with a job: decode the body, run the task, store the result."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bootsteps_consumer_tasks.envelope import Envelope
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_tasks import App, Context, Task, TaskHeaders, decode_body, executing, parse_headers
from bootsteps_tasks.backend import meta
from bootsteps_tasks.errors import Ignore, InvalidTaskError, NotRegistered, Reject, Retry, SoftTimeLimitExceeded

__all__ = ["TaskRunner"]

#: Longest repr of a result in a log line (Celery's limit for the same), and of an exception.
RESULT_CHARS, ERROR_CHARS = 46, 1024


class TaskRunner:
    """Runs the tasks of an application. Implements `bootsteps.InterruptibleRunner`; lives in one pool child."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._unstored: list[Mapping[str, Any]] = []
        self._in_task = False
        #: The soft limit of the present task, when it is over; and the one that the task got to know.
        self._over: float | None = None
        self._told: float | None = None

    def start(self) -> None:
        self._accept = frozenset(self._app.conf.accept_content)

    def stop(self) -> None:
        self.flush()
        self._app.close()

    def run(self, payload: bytes) -> bytes:
        envelope = Envelope.unpack(payload)
        headers = parse_headers(envelope.headers, envelope.properties, envelope.delivery_info)
        self._begin()
        report = self._trace(headers, envelope)
        return (report if self._told is None else replace(report, soft_limit_s=self._told)).pack()

    def _begin(self) -> None:
        self._over = self._told = None

    def interrupt(self, limit_s: float) -> None:
        """Raise in the task; what happens before and after it is the worker's own, and not to be torn."""
        self._over = limit_s
        if self._in_task:
            raise SoftTimeLimitExceeded(limit_s)

    def flush(self) -> None:
        """Store the results of all tasks since the last flush, in one batch."""
        if self._unstored:
            self._app.backend.store(self._unstored)
            self._unstored = []

    def _trace(self, headers: TaskHeaders, envelope: Envelope) -> Report:
        """Run one task, whatever happens in it, and keep its result for `flush`."""
        context = Context.of(headers, (), {}, envelope.delivery_info, envelope.hostname, envelope.headers, {})
        task = self._app.tasks.get(headers.name)
        try:
            result = self._execute(task, context, envelope)
        except Ignore:
            return Report("IGNORED")
        except Reject as exc:
            return self._rejected(task, context, exc)
        except Retry as exc:
            self._keep(task, context, "RETRY", exc.exc or exc, _text(exc))
            return Report("RETRY", str(exc))
        except BaseException as exc:  # a SystemExit in a task is that task's failure, not the child's end
            text = _text(exc)
            self._keep(task, context, "FAILURE", exc, text)
            return Report("FAILURE", _short(exc, ERROR_CHARS), text)
        self._keep(task, context, "SUCCESS", result)
        return Report("SUCCESS", _short(result, RESULT_CHARS))

    def _execute(self, task: Task[..., Any] | None, context: Context, envelope: Envelope) -> Any:
        if task is None:
            raise NotRegistered(context.task)
        compression = envelope.headers.get("compression")
        content = envelope.content_type, envelope.content_encoding
        args, kwargs, embed = decode_body(envelope.body, *content, compression, self._accept)
        if unsupported := sorted(key for key, value in embed.items() if value):
            raise InvalidTaskError(f"this worker does not follow {', '.join(unsupported)} yet")
        context.args, context.kwargs = args, kwargs
        with executing(context):
            return self._call(task, args, kwargs)

    def _call(self, task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call the task, which `interrupt` reaches only here."""
        try:
            self._in_task = True
            if self._over is not None:
                raise SoftTimeLimitExceeded(self._over)
            return task(*args, **kwargs)
        finally:
            self._in_task, self._told = False, self._over

    def _rejected(self, task: Task[..., Any] | None, context: Context, exc: Reject) -> Report:
        if exc.requeue:
            return Report("REQUEUED", str(exc.reason))
        self._keep(task, context, "FAILURE", exc, _text(exc))
        return Report("REJECTED", str(exc.reason))

    def _keep(
        self, task: Task[..., Any] | None, context: Context, state: str, result: Any, text: str | None = None
    ) -> None:
        ignore = context.ignore_result
        if ignore is None:
            ignore = bool(task and task.ignore_result)
        if ignore and (state != "FAILURE" or not (task and task.store_errors_even_if_ignored)):
            return
        assert context.id is not None, "it was made from a message"
        further = {"group_id": context.group, "parent_id": context.parent_id}
        known = {key: value for key, value in further.items() if value is not None}
        found = meta(context.id, state, result, text, context.children, conf=self._app.conf, **known)
        self._unstored.append(found)


def _text(exc: BaseException) -> str:
    """Return the traceback without the worker's own frames: a user wants to read about the task."""
    frames = exc.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in (__name__, "bootsteps_tasks.task"):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(exc), exc, frames))


def _short(value: Any, limit: int) -> str:
    try:
        text = repr(value)
    except Exception as exc:
        text = f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."
