"""What goes wrong with tasks.

`exc_module` is the module under which Celery's clients know an exception of this name (wire reference 15.2); without
it, it is written with its own module.
"""

from __future__ import annotations

import builtins
from typing import Any, ClassVar

__all__ = [
    "ChordError",
    "Ignore",
    "IncompleteStream",
    "InvalidMessage",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "Reject",
    "Retry",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskRevokedError",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]


class TaskError(Exception):
    """The base of what this package raises, and of remote exceptions whose class is not known here."""

    exc_module: ClassVar[str] = ""


class InvalidMessage(TaskError):
    """A message that is no task of protocol 2; its text is the reason."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001  (Celery's name)
    """A result did not come in time."""

    exc_module = "celery.exceptions"


class NotRegistered(TaskError, KeyError):
    """The worker has no task of this name."""

    exc_module = "celery.exceptions"

    def __str__(self) -> str:
        return f"no task is called {self.args[0]!r}" if self.args else "no such task"


class InvalidTaskError(TaskError):
    """A message names a task and cannot be used, e.g. for keyword arguments that are no mapping."""

    exc_module = "celery.exceptions"


class MaxRetriesExceededError(TaskError):
    """A task was tried as often as it may."""

    exc_module = "celery.exceptions"


class TaskRevokedError(TaskError):
    """A task was revoked, expired or terminated: its only argument says which."""

    exc_module = "celery.exceptions"


class ChordError(TaskError):
    """A chord's body cannot run: a task of its header failed."""

    exc_module = "celery.exceptions"


class IncompleteStream(TaskError):
    """Not all results that came of a task are ready."""

    exc_module = "celery.exceptions"


class WorkerLostError(TaskError):
    """The process that ran the task is gone."""

    exc_module = "billiard.exceptions"


class TimeLimitExceeded(TaskError):
    """The task ran into its hard limit, given in seconds as the only argument."""

    exc_module = "billiard.exceptions"


class SoftTimeLimitExceeded(TaskError):
    """Raised in a task at its soft limit."""

    exc_module = "billiard.exceptions"


class Ignore(TaskError):
    """Raised in a task: store nothing."""

    exc_module = "celery.exceptions"


class Reject(TaskError):
    """Raised in a task: give the message back (`requeue`) or drop it."""

    exc_module = "celery.exceptions"

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue


class Retry(TaskError):
    """Raised by `Task.retry` after the new message was published."""

    exc_module = "celery.exceptions"

    def __init__(self, message: str = "", exc: BaseException | None = None, when: Any = None) -> None:
        super().__init__(message, exc, when)
        self.message = message
        #: Why it is tried again.
        self.exc = exc
        #: Seconds from now, or the moment.
        self.when = when
        #: In eager mode, the next attempt: arguments, keyword arguments, options.
        self.call: Any = None

    def __str__(self) -> str:
        why = f": {self.exc!r}" if self.exc is not None else ""
        return f"{self.message or 'Retry'}{why}"
