"""Running a task where it is called, as a worker would: for tests, and for the setting `task_always_eager`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bootsteps_tasks.canvas.signature import as_list
from bootsteps_tasks.errors import TaskError
from bootsteps_tasks.options import CALL_OPTIONS, refuse_unknown
from bootsteps_tasks.request import Context, current_request
from bootsteps_tasks.result import EagerResult
from bootsteps_tasks.trace import Ending, Run

if TYPE_CHECKING:
    from bootsteps_tasks.task import Task

__all__ = ["apply"]


def apply(
    task: Task[..., Any],
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    throw: bool | None,
    options: Mapping[str, Any],
) -> EagerResult[Any]:
    """Run a task here, again as long as it wants to be retried (without waiting). See `Task.apply`."""
    refuse_unknown(f"a call of {task.name!r}", options, CALL_OPTIONS.union(options.get("stamped_headers") or ()))
    task_id = options.get("task_id") or str(uuid4())
    call: Any = tuple(args or ()), dict(kwargs or {}), dict(options)
    ending = Ending("RETRY", None)
    while ending.state == "RETRY" and call is not None:
        ending = _run(task, task_id, *call)
        call = getattr(ending.value, "call", None)
    _store(task, ending)
    throw = task.app.conf["task_eager_propagates"] if throw is None else throw
    if throw and isinstance(ending.value, BaseException) and ending.state in ("FAILURE", "REJECTED"):
        raise ending.value
    state = {"REJECTED": "FAILURE", "REQUEUED": "FAILURE"}.get(ending.state, ending.state)
    return EagerResult(task_id, task.app, state, ending.value, ending.traceback or None)


def _run(task: Task[..., Any], task_id: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Ending:
    context = _context(task, task_id, args, kwargs, options)
    run = Run(task.app, task, context)
    with run.context:
        try:
            task.check_arguments(args, kwargs)
            run.begin()
            result = run.call()
            if inspect.iscoroutine(result):
                result = _completed(result)
            return run.succeeded(result)
        except Exception as exc:
            return run.failed(exc)


def _completed(coroutine: Any) -> Any:
    import asyncio

    try:
        return asyncio.run(coroutine)
    except RuntimeError as exc:
        coroutine.close()
        raise TaskError(f"a coroutine task cannot be run eagerly inside a running event loop: {exc}") from exc


def _context(task: Task[..., Any], task_id: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Context:
    parent = current_request()
    inside = parent if parent is not None and not parent.called_directly else None
    return Context(
        id=task_id,
        task=task.name,
        args=args,
        kwargs=kwargs,
        retries=options.get("retries", 0),
        headers=dict(options.get("headers") or {}),
        delivery_info={"is_eager": True, **{key: options.get(key) for key in ("exchange", "routing_key")}},
        root_id=inside.root_id or inside.id if inside else task_id,
        parent_id=inside.id if inside else None,
        ignore_result=options.get("ignore_result"),
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        callbacks=as_list(options.get("link")),
        errbacks=as_list(options.get("link_error")),
        stamped_headers=options.get("stamped_headers"),
        stamps={name: options.get(name) for name in options.get("stamped_headers") or ()},
        hostname="",
        called_directly=False,
        is_eager=True,
    )


def _store(task: Task[..., Any], ending: Ending) -> None:
    if task.store_eager_result and ending.meta is not None:
        task.app.backend_of(task).store([ending.meta])
