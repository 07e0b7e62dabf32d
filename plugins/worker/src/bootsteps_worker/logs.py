"""Logging of the worker's process and of its children: where it goes and how it looks."""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

from bootsteps import App, KernelError, hookimpl
from bootsteps_worker.formats import TASK_LOGGER, formatter
from bootsteps_worker.logsettings import HIJACK, LOG_LEVEL, LOGFILE
from bootsteps_worker.names import expand_path
from bootsteps_worker.ours import Ours
from bootsteps_worker.stdouts import redirect

__all__ = ["ChildLogging", "set_up"]

#: The name of a pool child's process tells how it came to be, and its place, from 1.
CHILD = re.compile(r"(Fork|Spawn|ForkServer)PoolWorker-(\d+)")


class _Stream(logging.StreamHandler[TextIO], Ours): ...


def set_up(app: App, hostname: str, place: int = 0) -> None:
    """Send the root logger's records to standard error or to the file that the settings name.

    `place` is that of a pool child, from 1. Somebody who listens to the hook `setup_logging` does all that instead.
    Raises `KernelError` when the file cannot be opened.
    """
    level, template = app.conf.get(LOG_LEVEL), app.conf.get(LOGFILE)
    file = expand_path(template, hostname, place) if template else None
    told = {"loglevel": logging.getLevelNamesMapping()[level], "logfile": file}
    if app.hooks.listeners("setup_logging"):
        app.hooks.announce("setup_logging", **told)
        return
    root = logging.getLogger()
    if app.conf.get(HIJACK):
        root.handlers = []
    if not root.handlers or file is not None:
        root.addHandler(_handler(app, file))
        root.setLevel(level)
    logging.getLogger("amqp").setLevel("INFO")  # frames of every message at DEBUG
    app.hooks.announce("after_setup_logger", logger=logging.getLogger(), **told)
    app.hooks.announce("after_setup_task_logger", logger=logging.getLogger(TASK_LOGGER), **told)


def _handler(app: App, file: str | None) -> logging.Handler:
    handler = _Stream(sys.stderr) if file is None else _open(file)
    handler.setFormatter(formatter(app, terminal=file is None and sys.stderr.isatty()))
    return handler


def _open(file: str) -> logging.Handler:
    from pathlib import Path

    from bootsteps_worker.logfile import File  # brings sockets and more, for the other handlers of logging's

    try:
        return File(Path(file).resolve(), encoding="utf-8")
    except OSError as exc:
        what = f"the log file {file!r} cannot be opened: {exc.strerror}"
        raise KernelError(what, ("setting 'worker_logfile' of bootsteps-worker",), "--logfile PATH") from exc


class ChildLogging:
    """Gives a new pool child a log file of its own, when the name asks for it; and one that was not forked any log."""

    @staticmethod
    @hookimpl
    def worker_process_init(hostname: str, app: App | None) -> None:
        import multiprocessing

        child = CHILD.fullmatch(multiprocessing.current_process().name)
        if child is None or app is None:
            return
        root = logging.getLogger()
        # One that was forked has what its parent set up; billiard gives the others a handler of its own making.
        old = [handler for handler in root.handlers if isinstance(handler, Ours) or child[1] != "Fork"]
        if child[1] == "Fork" and not (old and _differs_by_child(app)):
            return
        for handler in old:
            root.removeHandler(handler)
            handler.close()
        set_up(app, hostname, int(child[2]))
        redirect(app)  # one that was forked has its parent's


def _differs_by_child(app: App) -> bool:
    return re.search(r"%[iI]", (app.conf.get(LOGFILE) or "").replace("%%", "")) is not None
