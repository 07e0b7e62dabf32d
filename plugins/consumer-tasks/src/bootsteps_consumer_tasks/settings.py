"""The settings of the steps: readable without what reads them, as `kernel worker --help` does."""

from __future__ import annotations

from typing import Any

from bootsteps import Setting

__all__ = ["DIRECT", "DISABLE_RATE_LIMITS", "EXCLUDED", "LOST_LIMIT", "PREFETCH", "PURGE", "QUEUES"]
__all__ += ["REDELIVERED_LIMIT", "UNKNOWN_DELAYS"]

QUEUES = Setting[tuple[str, ...]](
    "worker_queues", tuple, (), flags=("-Q", "--queues"), help="consume from these queues; default: all of task_queues"
)
EXCLUDED = Setting[tuple[str, ...]](
    "worker_exclude_queues",
    tuple,
    (),
    flags=("-X", "--exclude-queues"),
    help="of those queues consume from all but these",
)
DIRECT = Setting[bool](
    "worker_direct", bool, False, flags=(), help="consume from a queue of this worker's own too, NODE.dq2"
)
PURGE = Setting[bool](
    "worker_purge", bool, False, flags=("--purge", "--discard"), help="delete all that waits in the queues, then start"
)
PREFETCH = Setting[int](
    "worker_prefetch_multiplier",
    int,
    4,
    flags=("--prefetch-multiplier",),
    help="messages to reserve for each running task; named, it is kept: else more for short tasks, fewer for long",
)
LOST_LIMIT = Setting[int](
    "worker_lost_limit", int, 3, flags=(), help="how often a late-acknowledged task whose child died is tried again"
)
REDELIVERED_LIMIT = Setting[int](
    "worker_redelivered_limit",
    int,
    10,
    flags=(),
    help="how often a late-acknowledged task is tried again that comes back and nobody knows why",
)
DISABLE_RATE_LIMITS = Setting[bool]("worker_disable_rate_limits", bool, False, flags=(), help="start tasks at any rate")


def _delays(value: Any) -> tuple[float, ...]:
    words = [word for word in value.split(",") if word.strip()] if isinstance(value, str) else list(value)
    found = tuple(float(word) for word in words)
    if any(delay < 0 for delay in found):
        raise ValueError("a delay is a number of seconds")
    return found


UNKNOWN_DELAYS = Setting[Any](
    "worker_unknown_task_delays",
    _delays,
    (0.5, 1.0, 1.5, 2.0, 3.0),
    unit="s",
    flags=(),
    help="how long a task that is unknown here waits before it goes back to its queue, each time",
)
