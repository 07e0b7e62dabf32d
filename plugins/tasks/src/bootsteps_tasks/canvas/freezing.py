"""From what a user combined to what can be sent: nested kinds unrolled, and everything with its id."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bootsteps_tasks.canvas.combining import single
from bootsteps_tasks.canvas.kinds import chain, chord, group
from bootsteps_tasks.canvas.pieces import chunks
from bootsteps_tasks.canvas.signature import Signature, as_list, signature
from bootsteps_tasks.encoding import new_id
from bootsteps_tasks.groups import GroupResult
from bootsteps_tasks.result import AsyncResult

__all__ = ["Place", "flat", "freeze", "parts_of", "steps_of", "unchained"]

#: Options that say where a result belongs: of a chain, they are its last task's.
LAST = ("task_id", "group_id", "group_index", "chord")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the result of a signature belongs."""

    task_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    #: The body of the chord whose part it is.
    chord: Any = None


NOWHERE = Place()


def unchained(sig: chain) -> list[Signature]:
    """Return copies of a chain's tasks, with the chain's own options where they belong."""
    tasks: list[Signature] = [task.clone() for task in sig.tasks]
    options = dict(sig.options)
    after = [signature(task, app=sig._app) for task in reversed(options.pop("chain", None) or ())]
    if not tasks:
        return after
    for name in LAST:
        if (value := options.pop(name, None)) is not None and name not in tasks[-1].options:
            tasks[-1].options[name] = value
    for callback in as_list(options.pop("link", None)):
        tasks[-1].link(callback)
    for errback in as_list(options.pop("link_error", None)):
        for task in tasks:
            task.link_error(errback)
    first = tasks[0].options
    first.update({name: value for name, value in options.items() if name not in first})
    if sig.args and not tasks[0].immutable:
        tasks[0].args = (*sig.args, *tasks[0].args)
    return [*tasks, *after]


def steps_of(sig: Signature) -> list[Signature]:
    """Return what runs one after the other: tasks, chords, and at the end maybe a group.

    Copies, except for a signature that is the only step. A chord's body is no chain then: its later tasks are steps.
    """
    left, found = deque([sig]), list[Signature]()
    while left:
        step = left.popleft()
        if isinstance(step, chunks):
            step = step.group()
        if isinstance(step, chain):
            left.extendleft(reversed(unchained(step)))
            continue
        step = single(step) if step is not sig else step
        if isinstance(step, chain):
            left.appendleft(step)
        elif isinstance(step, group) and not step.tasks and (found or left):
            continue
        elif found and (header := _open_end(found[-1])) is not None:
            _join(found, header, step, left)
        else:
            _append(found, step, left)
    return found


def _open_end(step: Signature) -> tuple[chord | None, Signature] | None:
    """Return the group with which a step ends, and the chord whose body that is."""
    owner: chord | None = None
    while isinstance(step, chord) and step.body is not None:
        owner, step = step, step.body
    return (owner, step) if isinstance(step, group) else None


def _join(found: list[Signature], end: tuple[chord | None, Signature], step: Signature, left: Any) -> None:
    """Make a chord of a group and the step after it."""
    owner, header = end
    made: Any = chord(header, step, app=header._app or step._app, **header.options)
    if owner is None:
        found.pop()
        _append(found, made, left)
    else:
        owner.body = made


def _append(found: list[Signature], step: Signature, left: Any) -> None:
    if not isinstance(step, chord) or step.body is None:
        found.append(step)
        return
    step = step.clone()
    _hand_on(step)
    if isinstance(step.body, chain):
        tasks = steps_of(step.body)
        step.body, more = (tasks[0], tasks[1:]) if tasks else (None, [])
        left.extendleft(reversed(more))
    found.append(step)


def _hand_on(step: chord) -> None:
    """Give the body the options that are about it."""
    for callback in as_list(step.options.pop("link", None)):
        step.body.link(callback)
    for errback in as_list(step.options.pop("link_error", None)):
        step.body.append_to_list_option("link_error", errback)
    for name in ("group_id", "group_index", "chord"):
        if (value := step.options.pop(name, None)) is not None:
            step.body.options.setdefault(name, value)
    if after := step.options.pop("chain", None):
        step.body = chain.of([step.body, *(signature(task) for task in reversed(after))], step._app)
    task_id = step.options.get("task_id")
    if task_id and not _has_id(step.body):
        # Not frozen yet: the id that somebody chose is the body's.
        del step.options["task_id"]
        step.body.options["task_id"] = task_id


def _has_id(sig: Signature) -> bool:
    if sig.options.get("task_id"):
        return True
    return isinstance(sig, chain) and bool(sig.tasks) and _has_id(sig.tasks[-1])


def freeze(sig: Signature, place: Place = NOWHERE) -> Any:
    """Give ids to the signature and to all in it, and return the result to come; ids that are there stay."""
    if isinstance(sig, chain):
        return _freeze_chain(sig, place)
    if isinstance(sig, group):
        return _freeze_group(sig, place)
    if isinstance(sig, chord):
        return _freeze_chord(sig, place)
    return AsyncResult(_settle(sig, place), sig.app)


def _settle(sig: Signature, place: Place) -> str:
    options = sig.options
    task_id: str = options.setdefault("task_id", place.task_id or new_id())
    if place.chord is not None:
        # The count of a chord's parts depends on these.
        options.update(chord=place.chord, group_id=place.group_id)
    elif place.group_id is not None:
        options.setdefault("group_id", place.group_id)
    if place.group_index is not None:
        options["group_index"] = place.group_index
    return task_id


def _freeze_chain(sig: chain, place: Place) -> Any:
    task_id = sig.options.get("task_id") or place.task_id
    sig.tasks = steps_of(sig)
    sig.options = {}
    result = None
    for step in sig.tasks:
        last = Place(task_id, place.group_id, place.group_index, place.chord)
        before, result = result, freeze(step, last if step is sig.tasks[-1] else NOWHERE)
        first_of(result).parent = before
    if result is not None:
        sig.options["task_id"] = result.id
    return result


def first_of(result: Any) -> Any:
    """Return the first of the results that led to one."""
    while result.parent is not None:
        result = result.parent
    return result


def _freeze_group(sig: group, place: Place) -> GroupResult:
    gid = _settle(sig, place)
    body = sig.options.get("chord") if place.chord is None else place.chord
    group_id = gid if body is None else sig.options["group_id"]
    tasks = list(flat(sig.tasks))
    sig.tasks = tasks
    results = [freeze(task, Place(None, group_id, index, body)) for index, task in enumerate(tasks)]
    return GroupResult(gid, results, app=sig.app)


def flat(tasks: Sequence[Signature]) -> Any:
    """Groups in a group are one group; chains of nothing are nothing."""
    for task in tasks:
        if isinstance(task, group):
            yield from flat(task.tasks)
        elif not isinstance(task, chain) or steps_of(task):
            yield task


def _freeze_chord(sig: chord, place: Place) -> Any:
    header = group.of(sig.tasks, sig._app)
    if sig.body is None:
        return _freeze_group(header, place)
    _hand_on(sig)
    gid = sig.options.setdefault("task_id", new_id())
    parent = _freeze_group(header, Place(gid))
    sig.tasks = header.tasks
    result = freeze(sig.body, place)
    if type(sig.body) is Signature:
        sig.body.options.setdefault("group_id", gid)  # as Celery has it, for those who look at the result
    first_of(result).parent = parent
    return result


def parts_of(sig: Signature) -> int:
    """Return how many parts of a chord come of a task in its header (wire reference 16.4)."""
    if isinstance(sig, group):
        return sum(parts_of(task) for task in sig.tasks)
    if isinstance(sig, chord):
        return parts_of(sig.body)
    if isinstance(sig, chain):
        return next((count for task in reversed(sig.tasks) if (count := parts_of(task))), 0)
    return 1
