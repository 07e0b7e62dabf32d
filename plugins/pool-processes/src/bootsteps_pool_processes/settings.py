"""What the steps of these pools declare: read by `kernel worker --help` without what the pools are made of."""

from __future__ import annotations

from bootsteps import Setting

__all__ = ["CAPABILITIES", "CHILDREN", "HARD_MEMORY", "START_LIMIT", "START_LIMIT_S", "START_METHOD"]

#: What every pool of child processes can do.
CAPABILITIES = frozenset(
    {"terminate", "grow", "shrink", "restart", "hard_limit", "soft_limit", "max_tasks", "max_memory", "max_memory_hard"}
)
START_METHODS = ("fork", "spawn", "forkserver")
#: Long, since tasks may load large models at the start; a child that hangs there is worth nothing all the same.
START_LIMIT_S = 120.0


def _start_method(value: str) -> str:
    if value not in START_METHODS:
        raise ValueError(f"it is one of {', '.join(START_METHODS)}")
    return value


START_METHOD = Setting[str](
    "worker_pool_start_method",
    _start_method,
    "fork",
    flags=("--pool-start-method",),
    help="how children come to be: fork (fast), spawn (fresh interpreters), forkserver (forked from a fresh one)",
)
HARD_MEMORY = Setting[int | None](
    "worker_max_memory_per_child_hard",
    int,
    None,
    unit="KiB",
    flags=("--max-memory-per-child-hard",),
    help="kill a pool child that uses more than so many KiB of memory, also in the midst of a task (Linux)",
)
START_LIMIT = Setting[float](
    "worker_proc_alive_timeout",
    float,
    START_LIMIT_S,
    unit="s",
    flags=(),
    help="kill and replace a pool child that is not ready for its first task after so long",
)
CHILDREN = Setting[int](
    "worker_pool_children",
    int,
    1,
    flags=("--pool-children",),
    help="how many processes share the tasks of a pool whose processes run many at one time",
)
