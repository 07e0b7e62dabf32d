"""A task that lets others run in its place, or beside it in its chord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps.errors import LackingCapability
from bootsteps_tasks.canvas.freezing import freeze, steps_of
from bootsteps_tasks.canvas.kinds import chord, group
from bootsteps_tasks.canvas.signature import Signature, as_list
from bootsteps_tasks.errors import Ignore

if TYPE_CHECKING:
    from bootsteps_tasks.request import Context
    from bootsteps_tasks.task import Task

__all__ = ["add_to_chord", "replace", "take_over"]


def replace(task: Task[..., Any], sig: Signature) -> Any:
    """See `Task.replace`."""
    request = task.request
    if request.called_directly:
        raise RuntimeError(f"{task.name} was called as a function: there is no run to replace")
    if sig.options.get("chord") is not None:
        raise ValueError("a signature that is part of a chord already cannot replace a task")
    found = sig.clone()
    found._app = found._app or task.app
    steps = steps_of(found)
    if not steps:
        raise ValueError("an empty chain cannot replace a task")
    if _ends_in_group(steps[-1]):
        found = found | Signature("celery.accumulate", (), {"index": 0}, app=task.app)
    if not request.is_eager:
        _inherit(found, request)
    return task.on_replace(found)


def _ends_in_group(step: Signature) -> bool:
    while isinstance(step, chord) and step.body is not None:
        step = step.body
    return isinstance(step, group)


def _inherit(sig: Signature, request: Context) -> None:
    """Give what comes in the place of a run all that was to come of that run."""
    for callback in as_list(request.callbacks):
        Signature.link(sig, callback)
    for errback in as_list(request.errbacks):
        Signature.link_error(sig, errback)
    stamps = {name: (request.stamps or {}).get(name) for name in request.stamped_headers or ()}
    found = {
        "task_id": request.id,
        "group_id": request.group,
        "group_index": request.group_index,
        "chord": request.chord,
        "chain": list(request.chain) if request.chain else None,
        "reply_to": request.reply_to,
        "root_id": request.root_id,
        "replaced_task_nesting": request.replaced_task_nesting + 1,
        **({"stamped_headers": list(stamps), **stamps} if stamps else {}),
    }
    for name, value in found.items():
        if value is not None and (name not in sig.options or name == "task_id"):
            sig.options[name] = value


def take_over(task: Task[..., Any], sig: Signature) -> Any:
    """Send what replaces a run, and end that without a result of its own. See `Task.on_replace`."""
    if task.request.is_eager:
        return sig.apply().get()
    sig.apply_async(add_to_parent=False)
    raise Ignore("replaced by a new task")


def add_to_chord(task: Task[..., Any], sig: Signature, lazy: bool) -> Any:
    """See `Task.add_to_chord`."""
    from bootsteps_tasks.canvas.chords import native

    request = task.request
    if request.chord is None:
        raise ValueError(f"{task.name}[{request.id}] is not part of a chord")
    backend = native(task.app)
    if backend is None:
        what = f"{type(task.app.backend).__name__} does not count the parts of chords, so none can be added"
        raise LackingCapability(what, ("setting result_backend",), "result_backend='redis://...' or sqlite")
    sig = sig.clone()
    sig.set(group_id=request.group, group_index=request.group_index, chord=request.chord, root_id=request.root_id)
    freeze(sig)
    backend.add_to_chord(str(request.group))
    return sig if lazy else sig.delay()
