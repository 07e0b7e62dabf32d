"""How a line of the log looks: plain, coloured, of a task, or as JSON."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from bootsteps import App
from bootsteps_worker.logsettings import COLOR, DATEFMT, FORMAT, JSON, TASK_DATEFMT, TASK_FORMAT

__all__ = ["TASK_LOGGER", "formatter"]

#: The parent of the loggers that tasks use.
TASK_LOGGER = "bootsteps.task"
COLORS = {logging.DEBUG: "34", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "35"}


def formatter(app: App, terminal: bool) -> logging.Formatter:
    """Return the formatter that the settings ask for; `terminal` tells whether a person reads along."""
    running: Callable[[], Any] = lambda: getattr(app, "current_task", None)  # noqa: E731
    if app.conf.get(JSON):
        return _Json(running)
    color = app.conf.get(COLOR)
    if color is None:
        color = terminal and not os.environ.get("NO_COLOR")
    kind = _Colored if color else _Plain
    dates = app.conf.get(DATEFMT)
    task_dates = app.conf.get(TASK_DATEFMT)
    of_tasks = kind(app.conf.get(TASK_FORMAT), dates if task_dates is None else task_dates)
    return kind(app.conf.get(FORMAT), dates, of_tasks=of_tasks, running=running)


class _Plain(logging.Formatter):
    """Formats what a running task logs as `of_tasks` does; and records with an attribute `lines`, one line each."""

    #: Who has many lines to write at one time looks for this.
    takes_lines = True
    #: Stands for each of the lines while what is around them is made, once.
    _MARK = "\0"

    def __init__(
        self,
        fmt: str,
        datefmt: str | None,
        of_tasks: logging.Formatter | None = None,
        running: Callable[[], Any] = lambda: None,
    ) -> None:
        super().__init__(fmt, datefmt)
        self._of_tasks = of_tasks
        #: Returns the task that this thread runs.
        self._running = running

    def format(self, record: logging.LogRecord) -> str:
        lines: Sequence[str] | None = getattr(record, "lines", None)
        if lines is None:
            task = self._running() if self._of_tasks is not None and _of_a_task(record) else None
            if task is None or self._of_tasks is None:
                return super().format(record)
            record.task_name, record.task_id = task.name, task.request.id
            return self._of_tasks.format(record)
        one = copy(record)
        one.msg, one.args = self._MARK, ()
        before, _, after = super().format(one).partition(self._MARK)
        return "\n".join([before + line + after for line in lines])


class _Colored(_Plain):
    """Colours a line by its level."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text, color = super().formatMessage(record), COLORS.get(record.levelno)
        return f"\033[{color}m{text}\033[0m" if color else text


class _Json(logging.Formatter):
    """One object per line: time (ISO 8601, UTC), level, logger, process, pid, message; of a task also name and id."""

    takes_lines = True

    def __init__(self, running: Callable[[], Any]) -> None:
        super().__init__()
        self._running = running

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
            "pid": record.process,
        }
        task = self._running() if _of_a_task(record) else None
        if task is not None:
            facts |= {"task_name": task.name, "task_id": task.request.id}
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            facts["traceback"] = record.exc_text
        import json  # few workers log so

        lines: Sequence[str] | None = getattr(record, "lines", None)
        messages = [record.getMessage()] if lines is None else lines
        return "\n".join([json.dumps({**facts, "message": message}, default=str) for message in messages])


def _of_a_task(record: logging.LogRecord) -> bool:
    return record.name.startswith(f"{TASK_LOGGER}.")
