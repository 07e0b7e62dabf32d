"""The tasks of the protocol itself, which every application has (wire reference 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.task import Task

__all__ = ["BUILTIN", "builtin"]


def builtin(app: App, name: str) -> Task[..., Any] | None:
    """Return the task of that name, None when the protocol has none."""
    from bootsteps_tasks.registry import made_of

    if name not in _TASKS:
        return None
    fun, options = _TASKS[name]
    return made_of(app, fun, name, None, True, dict(options))


def accumulate(self: Task[..., Any], *args: Any, index: int | None = None) -> Any:
    """Return the arguments, or one of them."""
    return list(args) if index is None else args[index]


def backend_cleanup(self: Task[..., Any]) -> None:
    """Delete results that are over, where the backend does not do so by itself."""
    cleanup = getattr(self.app.backend, "cleanup", None)
    if cleanup is not None:
        cleanup()


def map_(self: Task[..., Any], task: Mapping[str, Any], it: Iterable[Any]) -> list[Any]:
    """Call a task with each item."""
    found = self.app.signature(task)
    return [found(item) for item in it]


def starmap(self: Task[..., Any], task: Mapping[str, Any], it: Iterable[Iterable[Any]]) -> list[Any]:
    """Call a task with each item as its arguments."""
    found = self.app.signature(task)
    return [found(*item) for item in it]


def chunks(self: Task[..., Any], task: Mapping[str, Any], it: Iterable[Any], n: int) -> Any:
    """Send a task's items in chunks; old clients leave that to a worker."""
    from bootsteps_tasks.canvas import chunks

    return chunks.apply_chunks(task, it, n, self.app).as_tuple()


def group(
    self: Task[..., Any],
    tasks: Sequence[Mapping[str, Any]],
    result: Any = None,
    group_id: str | None = None,
    partial_args: Sequence[Any] = (),
    **_: Any,
) -> Any:
    """Send a group; old clients leave that to a worker."""
    from bootsteps_tasks.canvas import group

    return group(tasks, app=self.app, task_id=group_id).apply_async(partial_args).as_tuple()


def chord(self: Task[..., Any], header: Any, body: Any, partial_args: Sequence[Any] = (), **_: Any) -> Any:
    """Send a chord; old clients leave that to a worker."""
    from bootsteps_tasks.canvas import chord

    return chord(header, body, app=self.app).apply_async(partial_args).as_tuple()


def chain(self: Task[..., Any], *args: Any, tasks: Sequence[Mapping[str, Any]] = (), **_: Any) -> Any:
    """Send a chain."""
    from bootsteps_tasks.canvas import chain

    found = chain(tasks, app=self.app).apply_async(args)
    return None if found is None else found.as_tuple()


def chord_unlock(
    self: Task[..., Any],
    group_id: str,
    callback: Mapping[str, Any],
    interval: float | None = None,
    max_retries: int | None = None,
    result: Sequence[Any] = (),
    **_: Any,
) -> None:
    """Run a chord's body if its header is done, else look again later (wire reference 16.3)."""
    from bootsteps_tasks.canvas.unlocking import unlock

    unlock(self, group_id, callback, interval, max_retries, result)


QUIET: Mapping[str, Any] = {"ignore_result": True, "max_retries": None}
_TASKS: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "celery.accumulate": (accumulate, {}),
    "celery.backend_cleanup": (backend_cleanup, {}),
    "celery.chain": (chain, {}),
    "celery.chord": (chord, {}),
    "celery.chord_unlock": (chord_unlock, QUIET),
    "celery.chunks": (chunks, {}),
    "celery.group": (group, {}),
    "celery.map": (map_, {}),
    "celery.starmap": (starmap, {}),
}
BUILTIN = tuple(_TASKS)
