"""The base of steps that lend a pool of child processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bootsteps import (
    HUB,
    POOL,
    RUNNER,
    TIMER,
    WORKER_CONCURRENCY,
    WORKER_MAX_MEMORY_PER_CHILD,
    WORKER_MAX_TASKS_PER_CHILD,
    Setting,
    SettingError,
    StartStopStep,
    WorkerView,
)
from bootsteps_pool_processes.settings import CAPABILITIES, CHILDREN, HARD_MEMORY, START_LIMIT, START_METHOD

if TYPE_CHECKING:
    from bootsteps_pool_processes.nature import Nature
    from bootsteps_pool_processes.pool import ProcessPool
    from bootsteps_pool_processes.recycle import Recycling

__all__ = ["CHILDREN", "HARD_MEMORY", "START_LIMIT", "START_METHOD", "ChildrenStep", "ConcurrentStep", "positive"]

#: What `stop` needs, beyond waiting for running jobs, to end children that do not listen.
KILLING_S = 8.0
#: Read by others, and told in `info` as Celery's pools do: soft, hard.
LIMITS = ("task_soft_time_limit", "task_time_limit")


class ChildrenStep(StartStopStep):
    """Base of the steps that lend a pool of child processes. A step says `name`, `choice` and `nature`."""

    provides = (POOL,)
    requires = (HUB, TIMER, RUNNER)
    settings: ClassVar[Sequence[Setting[Any]]] = (
        WORKER_CONCURRENCY,
        WORKER_MAX_TASKS_PER_CHILD,
        WORKER_MAX_MEMORY_PER_CHILD,
        HARD_MEMORY,
        START_LIMIT,
    )
    capabilities = CAPABILITIES
    stop_timeout_s = 30.0

    def nature(self, worker: WorkerView) -> Nature:
        """Return what the children are."""
        raise AssertionError("a step of a pool says what its children are")

    def create(self, worker: WorkerView) -> ProcessPool:
        from bootsteps.cores import usable_cores
        from bootsteps_pool_processes.pool import ProcessPool

        size = positive(worker, WORKER_CONCURRENCY, "-c 1, or leave it out: one per core")
        return self._make(ProcessPool, worker, size or usable_cores())

    def _make(self, kind: Callable[..., ProcessPool], worker: WorkerView, children: int, **more: Any) -> ProcessPool:
        nature, make_runner = self._checked_nature(worker), worker.get(RUNNER)
        if nature.start_method != "fork":
            from bootsteps_pool_processes.launch import check_picklable

            check_picklable(make_runner, nature.start_method)
        loop = worker.get(HUB), worker.get(TIMER)
        told = worker.log, worker.hooks.announce
        limits = tuple(worker.app.conf.get(name) for name in LIMITS)
        return kind(*loop, make_runner, children, *told, _recycling(worker), nature, limits, **more)

    def _checked_nature(self, worker: WorkerView) -> Nature:
        from dataclasses import replace

        limit = worker.setting(START_LIMIT)
        if limit <= 0:
            raise SettingError(f"{START_LIMIT.name} is {limit:g}, and must be more than 0", (), "leave it out")
        nature = replace(self.nature(worker), start_limit_s=limit)
        if nature.start_method == "forkserver" and not hasattr(os, "pidfd_open"):
            raise SettingError("the start method 'forkserver' needs Linux", (), "--pool-start-method spawn")
        return nature

    def start(self, worker: WorkerView) -> None:
        worker.on_stop(self.obj.terminate)  # after half a start, and for what a stop leaves
        self.obj.start()

    def close(self, worker: WorkerView) -> None:
        self.obj.close()

    def stop(self, worker: WorkerView) -> None:
        self.obj.stop((self.stop_timeout_s or float("inf")) - KILLING_S)

    def idle(self, worker: WorkerView) -> bool:
        return bool(self.obj.idle())

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"pool": dict(self.obj.info())}


class ConcurrentStep(ChildrenStep):
    """Base of the steps whose children run many jobs at one time."""

    settings = (*ChildrenStep.settings, CHILDREN)
    #: How many jobs run at one time when nobody says.
    default_places = 100

    def create(self, worker: WorkerView) -> ProcessPool:
        from bootsteps_pool_processes.wide import CHILD_MOST, ConcurrentPool

        places = positive(worker, WORKER_CONCURRENCY, "-c 1, or leave it out") or self.default_places
        children = min(positive(worker, CHILDREN) or 1, places)
        if places > children * CHILD_MOST:
            what = f"worker_concurrency is {places}, and a child runs {CHILD_MOST} tasks at most"
            raise SettingError(what, (), f"--pool-children {-(-places // CHILD_MOST)}")
        return self._make(ConcurrentPool, worker, children, places=places)


def _recycling(worker: WorkerView) -> Recycling:
    from bootsteps_pool_processes.recycle import Recycling, used_by

    tasks = positive(worker, WORKER_MAX_TASKS_PER_CHILD)
    memory = positive(worker, WORKER_MAX_MEMORY_PER_CHILD)
    recycling = Recycling(tasks, memory, positive(worker, HARD_MEMORY))
    if recycling.hard_memory_kib is not None and used_by("self") is None:
        what = f"{HARD_MEMORY.name} needs /proc to see what a child uses, and here is none"
        raise SettingError(what, (), f"{WORKER_MAX_MEMORY_PER_CHILD.name} works everywhere, after a task")
    return recycling


def positive(worker: WorkerView, setting: Setting[Any], fix: str = "leave it out for no limit") -> int | None:
    """Return a number of 1 and more, or None. Raises `SettingError`."""
    value = worker.setting(setting)
    if value is not None and value < 1:
        raise SettingError(f"{setting.name} is {value}, and must be at least 1", (), fix)
    return None if value is None else int(value)
