"""Time limits of a request: the message's own, else the task's, else the settings'."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bootsteps import POOL, Demand, KernelError, Setting, Settings

if TYPE_CHECKING:
    from bootsteps_tasks import Task

__all__ = ["NO_LIMITS", "SOFT_TIME_LIMIT", "TIME_LIMIT", "Limits", "check_tasks", "demanded", "unkept"]


def seconds(value: Any) -> float:
    """Return a limit in seconds. Raises ValueError with a sentence for whoever wrote it."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 < found < math.inf:
        raise ValueError("a time limit is a number of seconds above 0")
    return found


TIME_LIMIT = Setting[float | None](
    "task_time_limit",
    seconds,
    None,
    unit="s",
    flags=("--time-limit",),
    help="kill a task's process after so many seconds, unless the task or its message says otherwise",
)
SOFT_TIME_LIMIT = Setting[float | None](
    "task_soft_time_limit",
    seconds,
    None,
    unit="s",
    flags=("--soft-time-limit",),
    help="raise SoftTimeLimitExceeded in a task after so many seconds, unless the task or its message says otherwise",
)
#: What of a task, and what a pool must be able to do for it.
NEEDS = (("time_limit", "hard_limit"), ("soft_time_limit", "soft_limit"))


class Limits(NamedTuple):
    """Hard and soft limit in seconds; None = no limit."""

    hard: float | None = None
    soft: float | None = None

    def under(self, own: tuple[float | None, float | None]) -> Limits:
        """Return the limits of something that has its own, which go first, each by itself."""
        return Limits(own[0] or self.hard, own[1] or self.soft)


NO_LIMITS = Limits()


def unkept(limits: Limits, capabilities: Iterable[str]) -> str:
    """Return in words which of these limits a pool cannot keep; empty if it can."""
    able = frozenset(capabilities)
    asked = (("hard", limits.hard, "hard_limit"), ("soft", limits.soft, "soft_limit"))
    return " and ".join(f"a {kind} limit of {value:g} s" for kind, value, need in asked if value and need not in able)


def demanded(settings: Settings) -> Iterator[Demand]:
    """Yield what the settings ask of the pool."""
    for setting, capability in ((TIME_LIMIT, "hard_limit"), (SOFT_TIME_LIMIT, "soft_limit")):
        value = settings.get(setting)
        if value is not None:
            yield Demand(POOL, capability, f"{setting.name} = {value:g}")


def check_tasks(tasks: Mapping[str, Task[..., Any]], capabilities: Iterable[str]) -> None:
    """Raise `KernelError` for a task whose limit is none, or one that asks for what the pool cannot do."""
    able = frozenset(capabilities)
    for name, task in sorted(tasks.items()):
        if "coroutines" not in able and inspect.iscoroutinefunction(task.run):
            what = f"task {name!r} is a coroutine, which needs 'coroutines', and the pool cannot do that"
            raise KernelError(what, (), "choose another pool: kernel worker -P asyncio, or make it a plain function")
        for option, capability in NEEDS:
            value = getattr(task, option)
            if value is None:
                continue
            what = f"task {name!r} has {option} = {value!r}"
            try:
                seconds(value)
            except ValueError as exc:
                raise KernelError(f"{what}: {exc}", (), f"correct the {option} of this task, or remove it") from exc
            if capability not in able:
                fix = f"remove the {option} of this task, or choose another pool: kernel worker -P prefork"
                raise KernelError(f"{what}, which needs {capability!r}, and the pool cannot do that", (), fix)
