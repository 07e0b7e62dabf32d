"""The options of a task and of one call, under Celery's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from bootsteps.errors import did_you_mean

__all__ = ["CALL_OPTIONS", "TASK_OPTIONS", "CallOptions", "TaskOptions", "refuse_unknown"]


class _Shared(TypedDict, total=False):
    queue: Any  # a name or a kombu.Queue
    exchange: Any  # a name or a kombu.Exchange
    routing_key: str | None
    priority: int | None
    #: 1 or "transient", 2 or "persistent".
    delivery_mode: int | str | None
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
    """What `@app.task(...)` takes beside `name`, `bind` and `base`. None: as the application's settings say."""

    acks_late: bool | None
    #: Acknowledge a late one that failed; False: reject it.
    acks_on_failure: bool | None
    #: Acknowledge a late one that ran into its hard limit; False: give it back.
    acks_on_timeout: bool | None
    #: Both of these.
    acks_on_failure_or_timeout: bool | None
    #: Give a late one back when its child dies; False: it failed.
    reject_on_worker_lost: bool | None
    #: Publish a late one again, as a retry, when its child dies.
    retry_on_worker_lost: bool | None
    track_started: bool | None
    store_errors_even_if_ignored: bool | None
    store_eager_result: bool | None
    #: How many start in a worker: `"10/s"`, `"10/m"`, `"10/h"`, or a number a second; None: no limit.
    rate_limit: str | float | None
    #: None: for ever.
    max_retries: int | None
    #: Seconds between attempts.
    default_retry_delay: float
    #: Retried when raised.
    autoretry_for: type[BaseException] | tuple[type[BaseException], ...]
    dont_autoretry_for: type[BaseException] | tuple[type[BaseException], ...]
    #: Options of `retry` for these.
    retry_kwargs: Mapping[str, Any]
    #: True or a number of seconds: wait so long after the first attempt, and twice as long after each further one.
    retry_backoff: bool | float
    #: Seconds.
    retry_backoff_max: float
    #: Wait for a random part of that time instead.
    retry_jitter: bool
    #: Exceptions that are expected: logged without a traceback.
    throws: type[BaseException] | tuple[type[BaseException], ...]
    #: Check the arguments against the function's signature before publishing.
    typing: bool
    #: Keep what it published as `children` of its result.
    trail: bool
    send_events: bool
    #: Longest text of its result in the log.
    resultrepr_maxsize: int
    #: URL of a result backend of its own.
    backend: str | None
    #: Make pydantic models of arguments annotated so, and plain values of a result that is one.
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: Mapping[str, Any] | None
    pydantic_dump_kwargs: Mapping[str, Any] | None
    #: A class derived from `bootsteps_consumer_tasks.Request`, or "module:Class": it looks on in the main process.
    Request: Any
    #: `strategy(task, app, consumer, default)`, or "module:name": returns the function that takes the task's messages.
    Strategy: Any


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
    #: Try again when the broker cannot be reached; None: as the settings say.
    retry: bool | None
    #: `max_retries`, and `interval_start`, `interval_step`, `interval_max` in seconds.
    retry_policy: Mapping[str, Any] | None
    #: Count it among the children of the task that publishes it.
    add_to_parent: bool
    #: Signatures to run with its result.
    link: Any
    #: Signatures to run when it failed.
    link_error: Any
    #: Signatures that follow it, the next one last.
    chain: Sequence[Any] | None
    #: The body of the chord whose part it is.
    chord: Any
    #: Names of stamps; each is an option then.
    stamped_headers: Sequence[str] | None
    replaced_task_nesting: int


TASK_OPTIONS = frozenset(TaskOptions.__annotations__)
CALL_OPTIONS = frozenset(CallOptions.__annotations__)


def refuse_unknown(whose: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Raise TypeError for the first option that is not known, with a near match."""
    for option in given:
        if option not in known:
            raise TypeError(f"{whose} has no option {option!r}; {did_you_mean(option, known)}".rstrip("; "))
