"""What the log says of every task: a batch of lines at a time, where whoever writes them can do that."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["Line", "Lines", "say"]

#: A message and its arguments, as `logging` takes them.
Line = tuple[str, tuple[Any, ...]]


def say(log: logging.Logger, lines: Sequence[Line]) -> None:
    """Log lines at INFO that belong to one moment.

    Where every handler's formatter says that it `takes_lines` (that of `kernel worker` does), they are one record, with
    the attribute `lines`, and one write: a line takes 2 µs instead of 13. For any other handler each line is a record.
    """
    if not lines or not log.isEnabledFor(logging.INFO):
        return
    if not log.filters and all(_takes_lines(handler) for handler in _handlers(log)):
        told = {"lines": [message % args for message, args in lines]}
        log.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, "%d lines", (len(lines),), None, extra=told))
        return
    for message, args in lines:
        log.info(message, *args)


def _takes_lines(handler: logging.Handler) -> bool:
    return getattr(handler.formatter, "takes_lines", False) and not handler.filters


def _handlers(log: logging.Logger | None) -> Iterator[logging.Handler]:
    while log is not None:
        yield from log.handlers
        log = log.parent if log.propagate else None


class Lines:
    """Keeps lines until the end of the loop's turn. Loop thread only."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kept: list[Line] = []

    def add(self, message: str, *args: Any) -> None:
        """Keep a line, if it would be written."""
        if self._log.isEnabledFor(logging.INFO):
            self._kept.append((message, args))

    def flush(self) -> None:
        """Say what is kept."""
        if self._kept:
            kept, self._kept = self._kept, []
            say(self._log, kept)
