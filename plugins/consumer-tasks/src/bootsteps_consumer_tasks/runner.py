"""What a pool child does with a job: decode the body, run the task, store the result."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping
from typing import Any

from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
from bootsteps_tasks.errors import NotRegistered
from bootsteps_tasks.message import TaskHeaders, decode_body, parse_headers

from bootsteps_consumer_tasks.envelope import Envelope
from bootsteps_consumer_tasks.outcome import Report

__all__ = ["TaskRunner"]

log = logging.getLogger("worker.Runner")

#: Longest repr in a log line (Celery's limit for the same).
REPR_CHARS = 46


class TaskRunner:
    """Runs the tasks of an application. Implements `bootsteps.Runner`; lives in one pool child."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._unstored: list[Mapping[str, Any]] = []

    def start(self) -> None:
        self._accept = frozenset(self._app.conf.accept_content)

    def stop(self) -> None:
        self.flush()

    def run(self, payload: bytes) -> bytes:
        envelope = Envelope.unpack(payload)
        headers = parse_headers(envelope.headers, envelope.properties, envelope.delivery_info)
        return self._trace(headers, envelope).pack()

    def flush(self) -> None:
        """Store the results of all tasks since the last flush, in one batch."""
        if self._unstored:
            self._app.backend.store(self._unstored)
            self._unstored = []

    def _trace(self, headers: TaskHeaders, envelope: Envelope) -> Report:
        """Run one task, whatever happens in it, and keep its result for `flush`."""
        try:
            result = self._execute(headers, envelope)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:  # SystemExit in a task is that task's failure, not the child's end
            text = "".join(traceback.format_exception(_without_frames_of_ours(exc)))
            self._keep(headers, "FAILURE", exc, text)
            return Report("FAILURE", repr(exc)[:1024], text)
        self._keep(headers, "SUCCESS", result)
        return Report("SUCCESS", _short(result))

    def _execute(self, headers: TaskHeaders, envelope: Envelope) -> Any:
        task = self._app.tasks.get(headers.name)
        if task is None:
            raise NotRegistered(headers.name)
        args, kwargs, _ = decode_body(
            envelope.body,
            envelope.content_type,
            envelope.content_encoding,
            envelope.headers.get("compression"),
            self._accept,
        )
        with task.executing(headers, args, kwargs, envelope.delivery_info, envelope.hostname):
            return task(*args, **kwargs)

    def _keep(self, headers: TaskHeaders, state: str, result: Any, text: str | None = None) -> None:
        task = self._app.tasks.get(headers.name)
        ignore = headers.ignore_result
        if ignore is None:
            ignore = (
                task.ignore_result if task and task.ignore_result is not None else self._app.conf.task_ignore_result
            )
        if ignore and (state == "SUCCESS" or not self._app.conf.task_store_errors_even_if_ignored):
            return
        self._unstored.append(meta(headers.id, state, result, text))


def _without_frames_of_ours(exc: BaseException) -> BaseException:
    """Drop the worker's own frames: a user wants to read about the task."""
    frames = exc.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in (__name__, "contextlib"):
        frames = frames.tb_next
    return exc.with_traceback(frames)


def _short(value: Any) -> str:
    began = time.perf_counter()
    text = repr(value)
    if time.perf_counter() - began > 1.0:
        log.warning("repr of a result took more than a second; its type is %s", type(value).__name__)
    return text if len(text) <= REPR_CHARS else text[: REPR_CHARS - 3] + "..."
