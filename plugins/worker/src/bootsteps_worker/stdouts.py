"""What a task prints becomes lines of the log, with its name and id."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from bootsteps import App
from bootsteps_worker.formats import TASK_LOGGER
from bootsteps_worker.logsettings import REDIRECT, REDIRECT_LEVEL

__all__ = ["LoggedStream", "redirect", "redirected"]


def redirect(app: App) -> None:
    """Let what a task prints in this process go to the log, if the settings want it. Repeating is fine."""
    if not app.conf.get(REDIRECT):
        return
    level = logging.getLevelNamesMapping()[app.conf.get(REDIRECT_LEVEL)]
    log = logging.getLogger(f"{TASK_LOGGER}.stdout")

    def in_task() -> bool:
        return getattr(app, "current_task", None) is not None

    if not isinstance(sys.stdout, LoggedStream):
        sys.stdout = LoggedStream(log, level, sys.stdout, in_task)
    if not isinstance(sys.stderr, LoggedStream):
        sys.stderr = LoggedStream(log, level, sys.stderr, in_task)


@contextmanager
def redirected(app: App) -> Iterator[None]:
    """Redirect them meanwhile: what is said afterwards, to whom typed the command, is for the terminal."""
    before = sys.stdout, sys.stderr
    redirect(app)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class LoggedStream:
    """A stream for text whose lines are logged where `wanted()`; all else goes to the stream that it stands for.

    A part of a line waits for the rest or for `flush`. What is written while a line is being logged, by a handler that
    fails or prints, goes to the old stream: else it would never end. Safe from any thread.
    """

    encoding = "utf-8"
    errors = "replace"
    mode = "w"

    def __init__(self, log: logging.Logger, level: int, instead_of: TextIO, wanted: Callable[[], bool]) -> None:
        self._log = log
        self._level = level
        self._old = instead_of
        self._wanted = wanted
        self._local = threading.local()

    def write(self, text: str) -> int:
        if getattr(self._local, "logging", False) or not self._wanted():
            return self._old.write(text)
        *lines, rest = (getattr(self._local, "rest", "") + text).split("\n")
        self._local.rest = rest
        for line in lines:
            self._say(line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        rest, self._local.rest = getattr(self._local, "rest", ""), ""
        self._say(rest)
        self._old.flush()

    def _say(self, line: str) -> None:
        if not line.strip():
            return
        self._local.logging = True
        try:
            self._log.log(self._level, "%s", line.rstrip())
        finally:
            self._local.logging = False

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        """What else a stream has (`buffer`, `fileno`, `close`): that of the old one."""
        return getattr(self._old, name)
