"""Running a signature of any kind where it is called: what workers would do, in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from bootsteps_tasks.canvas.freezing import steps_of
from bootsteps_tasks.canvas.kinds import chord, group
from bootsteps_tasks.canvas.sending import ENDS, ended, usable
from bootsteps_tasks.canvas.signature import Signature
from bootsteps_tasks.errors import ChordError
from bootsteps_tasks.groups import GroupResult
from bootsteps_tasks.result import EagerResult

__all__ = ["run"]


def run(sig: Signature, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Run a signature here. See `Signature.apply`."""
    options = {name: value for name, value in options.items() if value is not None}
    if type(sig) is Signature and not options.get("chain"):
        return _task(sig, args, kwargs, options)
    found = ended(sig.clone(), {name: options.pop(name) for name in ENDS if name in options})
    result: Any = None
    for step in steps_of(found):
        before, result = result, _step(step, args, kwargs, options)
        if result.parent is None:
            result.parent = before
        if isinstance(result, EagerResult) and not result.successful():
            break
        args, kwargs, options = (result.get(),) if not isinstance(result, GroupResult) else (), {}, {}
    return result


def _step(step: Signature, args: Any, kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    if isinstance(step, group):
        return _group(step.tasks, args, kwargs, {**step.options, **options}, step)
    if isinstance(step, chord):
        return _chord(step, args, kwargs, options)
    return _task(step, args, kwargs, options)


def _task(sig: Signature, args: Any, kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    args, kwargs, found = sig.merged(args, kwargs, options)
    return sig.type.apply(args, kwargs, **usable({**found, "chord": None}))


def _group(
    tasks: Sequence[Signature], args: Any, kwargs: Mapping[str, Any], options: Mapping[str, Any], sig: Signature
) -> GroupResult:
    from bootsteps_tasks.canvas.freezing import flat

    common = {name: value for name, value in options.items() if name not in ENDS}
    gid = sig.options.get("task_id") or str(uuid4())
    results = [run(task, args, kwargs, {**common, "group_id": gid}) for task in flat(tasks)]
    return GroupResult(gid, results, sig.app)


def _chord(sig: chord, args: Any, kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    header = _group(sig.tasks, args, {**sig.kwargs.get("kwargs", {}), **kwargs}, options, sig)
    failed = next((leaf for leaf in header.leaves() if not leaf.successful()), None)
    if failed is not None:
        result: Any = _failed(sig, failed)
    else:
        result = run(sig.body, (header.get(),), {}, {})
    if result.parent is None:
        result.parent = header
    return result


def _failed(sig: chord, failed: Any) -> EagerResult[Any]:
    from bootsteps_tasks.canvas.following import call_errbacks

    error = ChordError(f"Dependency {failed.id} raised {failed.result!r}")
    task_id = sig.body.options.get("task_id") or str(uuid4())
    call_errbacks(sig.app, sig.body, task_id, error)
    return EagerResult(task_id, sig.app, "FAILURE", error, None)
