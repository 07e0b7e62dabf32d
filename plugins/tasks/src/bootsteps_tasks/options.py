"""The options of a task and of one call, under Celery's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from bootsteps.errors import did_you_mean

__all__ = ["CALL_OPTIONS", "TASK_OPTIONS", "CallOptions", "TaskOptions", "refuse_unknown"]


class _Shared(TypedDict, total=False):
    queue: Any  # a name or a kombu.Queue
    exchange: Any  # a name or a kombu.Exchange
    routing_key: str | None
    priority: int | None
    #: Seconds from the call, or a moment; after it the task is not run.
    expires: float | datetime | str | None
    serializer: str | None
    compression: str | None
    #: Seconds.
    time_limit: float | None
    #: Seconds.
    soft_time_limit: float | None
    ignore_result: bool | None


class TaskOptions(_Shared, total=False):
    """What `@app.task(...)` takes beside `name` and `bind`. None means: as the application's settings say."""

    acks_late: bool | None
    track_started: bool | None
    store_errors_even_if_ignored: bool | None
    max_retries: int | None
    #: Seconds between attempts.
    default_retry_delay: float
    #: Exceptions that are expected: logged without a traceback.
    throws: tuple[type[BaseException], ...]
    #: Check the arguments against the function's signature before publishing.
    typing: bool


class CallOptions(_Shared, total=False):
    """What `apply_async` and `send_task` take beside the arguments."""

    #: Seconds from now.
    countdown: float | None
    #: A naive moment is UTC for the worker.
    eta: datetime | str | None
    task_id: str | None
    headers: Mapping[str, Any] | None
    shadow: str | None
    retries: int
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    reply_to: str | None
    argsrepr: str | None
    kwargsrepr: str | None


TASK_OPTIONS = frozenset(TaskOptions.__annotations__)
CALL_OPTIONS = frozenset(CallOptions.__annotations__)


def refuse_unknown(whose: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Raise TypeError for the first option that is not known, with a near match."""
    for option in given:
        if option not in known:
            raise TypeError(f"{whose} has no option {option!r}; {did_you_mean(option, known)}".rstrip("; "))
