"""The base of steps that lend a pool of child processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

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
from bootsteps.cores import usable_cores
from bootsteps_pool_processes.launch import check_picklable
from bootsteps_pool_processes.nature import CAPABILITIES, START_LIMIT_S, START_METHODS, Nature
from bootsteps_pool_processes.pool import ProcessPool
from bootsteps_pool_processes.recycle import Recycling, used_by
from bootsteps_pool_processes.wide import CHILD_MOST, ConcurrentPool

__all__ = ["CHILDREN", "HARD_MEMORY", "START_LIMIT", "START_METHOD", "ChildrenStep", "ConcurrentStep", "positive"]

#: What `stop` needs, beyond waiting for running jobs, to end children that do not listen.
KILLING_S = 8.0
#: Read by others, and told in `info` as Celery's pools do: soft, hard.
LIMITS = ("task_soft_time_limit", "task_time_limit")


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
        size = positive(worker, WORKER_CONCURRENCY, "-c 1, or leave it out: one per core")
        return self._make(ProcessPool, worker, size or usable_cores())

    def _make(self, kind: Callable[..., ProcessPool], worker: WorkerView, children: int, **more: Any) -> ProcessPool:
        limit = worker.setting(START_LIMIT)
        if limit <= 0:
            raise SettingError(f"{START_LIMIT.name} is {limit:g}, and must be more than 0", (), "leave it out")
        nature = replace(self.nature(worker), start_limit_s=limit)
        make_runner = worker.get(RUNNER)
        if nature.start_method == "forkserver" and not hasattr(os, "pidfd_open"):
            raise SettingError("the start method 'forkserver' needs Linux", (), "--pool-start-method spawn")
        if nature.start_method != "fork":
            check_picklable(make_runner, nature.start_method)
        tasks = positive(worker, WORKER_MAX_TASKS_PER_CHILD)
        memory = positive(worker, WORKER_MAX_MEMORY_PER_CHILD)
        recycling = Recycling(tasks, memory, positive(worker, HARD_MEMORY))
        if recycling.hard_memory_kib is not None and used_by("self") is None:
            what = f"{HARD_MEMORY.name} needs /proc to see what a child uses, and here is none"
            raise SettingError(what, (), f"{WORKER_MAX_MEMORY_PER_CHILD.name} works everywhere, after a task")
        loop = worker.get(HUB), worker.get(TIMER)
        told = worker.log, worker.hooks.announce
        limits = tuple(worker.app.conf.get(name) for name in LIMITS)
        return kind(*loop, make_runner, children, *told, recycling, nature, limits, **more)

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
    kind: ClassVar[type[ConcurrentPool]] = ConcurrentPool
    #: How many jobs run at one time when nobody says.
    default_places = 100

    def create(self, worker: WorkerView) -> ProcessPool:
        places = positive(worker, WORKER_CONCURRENCY, "-c 1, or leave it out") or self.default_places
        children = min(positive(worker, CHILDREN) or 1, places)
        if places > children * CHILD_MOST:
            what = f"worker_concurrency is {places}, and a child runs {CHILD_MOST} tasks at most"
            raise SettingError(what, (), f"--pool-children {-(-places // CHILD_MOST)}")
        return self._make(self.kind, worker, children, places=places)


def positive(worker: WorkerView, setting: Setting[Any], fix: str = "leave it out for no limit") -> int | None:
    """Return a number of 1 and more, or None. Raises `SettingError`."""
    value = worker.setting(setting)
    if value is not None and value < 1:
        raise SettingError(f"{setting.name} is {value}, and must be at least 1", (), fix)
    return None if value is None else int(value)
