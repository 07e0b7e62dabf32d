"""The commands that have an effect: names, arguments and replies are Celery's. Others are ignored, as there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bootsteps import POOL, CommandView, KernelError, Pool, control_command
from bootsteps_consumer import CONSUMER
from bootsteps_consumer_tasks import TASK_CONTROL, TASK_QUEUES

__all__ = [
    "add_consumer",
    "cancel_consumer",
    "pool_grow",
    "pool_shrink",
    "rate_limit",
    "revoke",
    "revoke_by_stamped_headers",
    "shutdown",
    "terminate",
    "time_limit",
]

Reply = dict[str, Any]
UNKNOWN_TASK: Reply = {"error": "unknown task"}


@control_command(requires=(TASK_CONTROL,), variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: CommandView, task_id: Any, terminate: bool = False, signal: Any = "SIGTERM", **extra: Any) -> Reply:
    """Revoke task by task id (or list of ids); with terminate end also those that run."""
    ids = _ids(task_id)
    terminated = state.get(TASK_CONTROL).revoke(ids, bool(terminate), signal or "SIGTERM")
    if terminate:
        return {"ok": f"terminate: {', '.join(terminated) or 'tasks unknown'}"}
    return {"ok": f"tasks {', '.join(sorted(ids))} flagged as revoked"}


@control_command(
    requires=(TASK_CONTROL,),
    args=[("signal", str)],
    variadic="task_id",
    signature="<signal> [id1 [id2 [... [idN]]]]",
)
def terminate(state: CommandView, signal: Any, task_id: Any, **extra: Any) -> Reply:
    """Terminate task by task id (or list of ids)."""
    return revoke(state, task_id, terminate=True, signal=signal)


@control_command(
    requires=(TASK_CONTROL,),
    variadic="headers",
    signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
)
def revoke_by_stamped_headers(
    state: CommandView, headers: Any, terminate: bool = False, signal: Any = "SIGTERM", **extra: Any
) -> Reply:
    """Revoke tasks by stamps: a mapping, or words key=value."""
    stamps = _stamps(headers)
    terminated = state.get(TASK_CONTROL).revoke_by_stamps(stamps, bool(terminate), signal or "SIGTERM")
    text = ", ".join(f"{name}={value}" for name, values in stamps.items() for value in values)
    if terminate:
        return {"ok": f"headers {text} {'revoked' if terminated else 'were not terminated'}"}
    return {"ok": f"headers {text} flagged as revoked, but not terminated"}


@control_command(
    requires=(TASK_CONTROL,),
    args=[("task_name", str), ("rate_limit", str)],
    signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
)
def rate_limit(state: CommandView, task_name: str, rate_limit: Any, **extra: Any) -> Reply:
    """Tell worker(s) to modify the rate limit for a task by type; 0 takes it away."""
    if task_name not in state.app.tasks:
        return UNKNOWN_TASK
    try:
        state.get(TASK_CONTROL).rate_limit(task_name, rate_limit)
    except KernelError as exc:
        return {"error": f"Invalid rate limit string: {exc.__cause__ or exc!r}"}
    return {"ok": "new rate limit set successfully" if rate_limit else "rate limit disabled successfully"}


@control_command(
    requires=(TASK_CONTROL,),
    args=[("task_name", str), ("soft", float), ("hard", float)],
    signature="<task_name> <soft_secs> [hard_secs]",
)
def time_limit(
    state: CommandView, task_name: str | None = None, hard: Any = None, soft: Any = None, **extra: Any
) -> Reply:
    """Tell worker(s) to modify the time limits (seconds) for a task by type; what is left out is taken away."""
    if task_name is None or task_name not in state.app.tasks:
        return UNKNOWN_TASK
    state.get(TASK_CONTROL).time_limit(task_name, hard or None, soft or None)
    return {"ok": "time limits set successfully"}


@control_command(requires=(POOL,), args=[("n", int)], signature="[N=1]")
def pool_grow(state: CommandView, n: int = 1, **extra: Any) -> Reply:
    """Grow the pool by n processes or threads; the prefetch limit grows with it."""
    if _is_autoscaled(state):
        return _refused("pool_grow")
    _pool_that_can(state, "grow").grow(_positive(n))
    return {"ok": "pool will grow"}


@control_command(requires=(POOL,), args=[("n", int)], signature="[N=1]")
def pool_shrink(state: CommandView, n: int = 1, **extra: Any) -> Reply:
    """Shrink the pool by n processes or threads, idle ones first; busy ones finish their task."""
    if _is_autoscaled(state):
        return _refused("pool_shrink")
    try:
        _pool_that_can(state, "shrink").shrink(_positive(n))
    except ValueError as exc:
        raise KernelError(str(exc), (), "a smaller n") from exc
    return {"ok": "pool will shrink"}


@control_command(
    requires=(TASK_QUEUES,),
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)
def add_consumer(
    state: CommandView,
    queue: str,
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
    **options: Any,
) -> Reply:
    """Tell worker(s) to consume from task queue by name; kept over reconnects."""
    if exchange is None and routing_key is None and exchange_type == "direct":
        exchange_type = None  # what every client says who was told nothing; a configured queue is as configured
    state.get(TASK_QUEUES).add(queue, exchange, exchange_type, routing_key, **options)
    return {"ok": f"add consumer {queue}"}


@control_command(requires=(TASK_QUEUES,), args=[("queue", str)], signature="<queue>")
def cancel_consumer(state: CommandView, queue: str, **extra: Any) -> Reply:
    """Tell worker(s) to stop consuming from task queue by name; kept over reconnects."""
    state.get(TASK_QUEUES).cancel(queue)
    return {"ok": f"no longer consuming from {queue}"}


@control_command(requires=(CONSUMER,))
def shutdown(state: CommandView, msg: str = "Got shutdown from remote", **extra: Any) -> Reply:
    """Shutdown worker(s), warmly."""
    state.log.warning(msg)
    worker: Any = state.get(CONSUMER).controller
    worker.stop()
    return {"ok": "warm shutdown"}


def _is_autoscaled(state: CommandView) -> bool:
    """Somebody else decides on the pool's size."""
    worker: Any = state.consumer.controller
    return getattr(worker, "autoscaler", None) is not None


def _refused(command: str) -> Reply:
    return {"error": f"{command} is not supported with autoscale. Adjust autoscale range instead."}


def _pool_that_can(state: CommandView, what: str) -> Pool:
    pool = state.get(POOL)
    if what not in pool.capabilities:
        raise KernelError(f"this worker's pool cannot {what}", (), "kernel worker -P prefork")
    return pool


def _positive(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise KernelError(f"n is a whole number above 0, not {n!r}", (), 'arguments: {"n": 1}')
    return n


def _ids(value: Any) -> list[str]:
    """One id or several. Raises `KernelError` for anything else: nothing is revoked then."""
    found: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(each, str) and each for each in found):
        raise KernelError(f"task ids are texts, not {value!r}", (), 'arguments: {"task_id": ["..."]}')
    return found


def _stamps(value: Any) -> Mapping[str, Sequence[str]]:
    """A mapping from names to values, or words `name=value`; several values of a name add up."""
    stamps: dict[str, list[str]] = {}
    pairs = value.items() if isinstance(value, Mapping) else (_pair(word) for word in _ids(value))
    for name, values in pairs:
        several = values if isinstance(values, list | tuple | set) else (values,)
        stamps.setdefault(str(name), []).extend(str(each) for each in several)
    return stamps


def _pair(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not sign:
        raise KernelError(f"a stamp is name=value, not {word!r}", (), "tenant=acme")
    return name, value
