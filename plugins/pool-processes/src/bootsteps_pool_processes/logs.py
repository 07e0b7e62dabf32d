"""Logging as the parent has it, in children that do not inherit it."""

from __future__ import annotations

import logging
import sys
from typing import NamedTuple

__all__ = ["Logs", "restore", "snapshot"]


class Logs(NamedTuple):
    """What can be told of a process's logging."""

    #: Name ("" = the root) and level of each logger that has a level of its own.
    levels: dict[str, int]
    #: For each handler of the root: the file's name (None = standard error), the level, the format.
    handlers: list[tuple[str | None, int, str | None]]


def snapshot() -> Logs:
    """Return what a child needs to log like this process: handlers of files and of streams."""
    root = logging.getLogger()
    loggers = [(name, logger) for name, logger in logging.Logger.manager.loggerDict.items()]
    levels = {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger) and logger.level}
    found = []
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler):
            format_ = getattr(handler.formatter, "_fmt", None)  # there is no public name for it
            found.append((getattr(handler, "baseFilename", None), handler.level, format_))
    return Logs({"": root.level, **levels}, found)


def restore(logs: Logs) -> None:
    """Log as the snapshot says."""
    for name, level in logs.levels.items():
        logging.getLogger(name or None).setLevel(level)
    for filename, level, format_ in logs.handlers:
        handler = logging.FileHandler(filename) if filename else logging.StreamHandler(sys.stderr)
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter(format_))
        logging.getLogger().addHandler(handler)
