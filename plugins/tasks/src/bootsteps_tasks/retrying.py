"""Trying a task again: by `Task.retry`, or because it raised what it is retried for."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bootsteps_tasks.errors import Ignore, MaxRetriesExceededError, Reject, Retry

if TYPE_CHECKING:
    from bootsteps_tasks.request import Context
    from bootsteps_tasks.task import Task

__all__ = ["pause_before", "retry", "retry_if_wanted"]


def retry(
    task: Task[..., Any],
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    exc: BaseException | None,
    max_retries: int | None,
    options: dict[str, Any],
) -> Retry:
    """Publish the message again and return what to raise. See `Task.retry`."""
    request = task.request
    if request.called_directly and not request.is_eager:
        raise exc or RuntimeError(f"{task.name} was called as a function: there is no message to retry")
    limit = task.max_retries if max_retries is None else max_retries
    if limit is not None and request.retries >= limit:
        raise exc or MaxRetriesExceededError(f"{task.name}[{request.id}] was tried {request.retries + 1} times")
    countdown, eta = options.pop("countdown", None), options.pop("eta", None)
    if eta is None and countdown is None:
        countdown = task.default_retry_delay
    when = countdown if eta is None else eta
    found = Retry(f"Retry in {when}s" if eta is None else f"Retry at {when}", exc, when)
    again = {**repeated(request), **options, "countdown": countdown, "eta": eta}
    args, kwargs = request.args if args is None else args, request.kwargs if kwargs is None else kwargs
    if request.is_eager:
        found.call = args, kwargs, again
        return found
    try:
        task.app.publish(task, args, kwargs, again)
    except Exception as failure:
        raise Reject(failure, requeue=False) from failure
    return found


def retry_if_wanted(task: Task[..., Any], exc: BaseException) -> None:
    """Raise `Retry`, or the error that ends the attempts, if the task is to be retried for such an exception."""
    if not isinstance(exc, task.autoretry_for) or isinstance(exc, (*task.dont_autoretry_for, Ignore, Reject, Retry)):
        return
    options = dict(task.retry_kwargs)
    if task.retry_backoff:
        options["countdown"] = pause_before(task, task.request.retries)
    raise task.retry(exc=exc, **options) from exc


def pause_before(task: Task[..., Any], retries: int) -> float:
    """Return the seconds to wait after so many retries: doubled each time, bounded, and in part random."""
    factor = max(1.0, float(task.retry_backoff))
    longest = min(task.retry_backoff_max, factor * 2.0 ** min(retries, 64))
    return random.uniform(0.0, longest) if task.retry_jitter else longest


def repeated(request: Context) -> dict[str, Any]:
    """Return the parts of a message that its next attempt keeps, as options of a call (wire reference 3.6, Retry).

    The parent (itself) and the root come by themselves, as for every message that a task publishes.
    """
    queue = request.delivery_info.get("routing_key") if not request.delivery_info.get("exchange") else None
    hard, soft = request.timelimit or (None, None)
    found = {
        "task_id": request.id,
        "retries": request.retries + 1,
        "group_id": request.group,
        "group_index": request.group_index,
        "expires": request.expires,
        "time_limit": hard,
        "soft_time_limit": soft,
        "ignore_result": request.ignore_result,
        "shadow": request.shadow,
        "reply_to": request.reply_to,
        "queue": queue,
        "priority": request.properties.get("priority") or request.delivery_info.get("priority"),
        "headers": request.custom_headers() or None,
        "link": request.callbacks,
        "link_error": request.errbacks,
        "chain": request.chain,
        "chord": request.chord,
    }
    return {name: value for name, value in found.items() if value is not None}
