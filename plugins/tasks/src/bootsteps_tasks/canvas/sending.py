"""Publishing a signature of any kind: which messages go out now, and which chords have to be counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bootsteps_tasks.canvas.freezing import NOWHERE, Place, freeze, parts_of, steps_of
from bootsteps_tasks.canvas.kinds import chain, chord, group
from bootsteps_tasks.canvas.signature import Signature, as_list, plain
from bootsteps_tasks.groups import GroupResult
from bootsteps_tasks.options import CALL_OPTIONS
from bootsteps_tasks.request import current_request

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["NewChord", "Plan", "plan", "send"]

#: Options of a call that are about its result, not about its message: they go to the end of what is called.
ENDS = ("task_id", "group_id", "group_index", "chord", "link", "link_error", "chain")


class Call(NamedTuple):
    """One message, as `App.send_many` takes it."""

    task: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewChord:
    """A chord whose header is about to be published."""

    group_id: str
    #: How many parts will return.
    size: int
    results: GroupResult
    body: dict[str, Any]
    #: Options for `celery.chord_unlock`.
    options: Mapping[str, Any]


class Plan:
    """The messages and chords of one call."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.calls: list[Call] = []
        self.chords: list[NewChord] = []

    def enter(self, steps: Sequence[Signature], args: Any, kwargs: Any, options: Mapping[str, Any]) -> None:
        """Add what goes out first; the other steps travel with it, the next one last (wire reference 3.4)."""
        first, rest = steps[0], [plain(step) for step in reversed(steps[1:])]
        if isinstance(first, group):
            self._fan_out(first.tasks, args, kwargs, {**first.options, **options})
        elif isinstance(first, chord):
            self._chord(first, rest, args, kwargs, options)
        else:
            self._task(first, rest, args, kwargs, options)

    def _task(self, sig: Signature, rest: list[Any], args: Any, kwargs: Any, options: Mapping[str, Any]) -> None:
        args, kwargs, found = sig.merged(args, kwargs, options)
        if rest:
            found["chain"] = rest
        known = sig._task or self.app.tasks.get(sig.name)
        self.calls.append(Call(known or sig.name, args, kwargs, usable(found)))

    def _fan_out(self, tasks: Sequence[Signature], args: Any, kwargs: Any, options: Mapping[str, Any]) -> None:
        common = {name: value for name, value in options.items() if name not in ENDS}
        common["add_to_parent"] = False
        for task in tasks:
            if type(task) is Signature:
                self._task(task, [], args, kwargs, common)
            else:
                self.enter(steps_of(task), args, kwargs, common)

    def _chord(self, sig: chord, rest: list[Any], args: Any, kwargs: Any, options: Mapping[str, Any]) -> None:
        gid, body = sig.options["task_id"], sig.body
        if rest:
            body.options["chain"] = rest
        own = {name: value for name, value in {**sig.options, **options}.items() if name not in ENDS}
        for name, value in own.items():
            if name not in ("countdown", "eta", "add_to_parent", "parent_id"):
                body.options.setdefault(name, value)
        if not sig.tasks:
            self.enter(steps_of(body), ([],), {}, {})
            return
        flat = plain(body)
        header = group.of(sig.tasks, self.app)
        results = freeze(header, Place(gid, gid, None, flat))
        chord_ = NewChord(gid, parts_of(header), results, flat, own)
        self.chords.append(chord_)
        self._fan_out(header.tasks, args, {**sig.kwargs.get("kwargs", {}), **kwargs}, own)


def plan(sig: Signature, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the messages that a call makes and the result to come; None for both when there is nothing to do."""
    app = sig.app
    found = sig.clone()
    options = {name: value for name, value in options.items() if value is not None}
    ends = {name: options.pop(name) for name in ENDS if name in options}
    if isinstance(found, chord) and ends.get("task_id") and found.options.get("task_id") is None:
        found.body.options.setdefault("task_id", ends.pop("task_id"))
    found = ended(found, ends)
    steps = steps_of(found)
    if not steps:
        return None, None
    result = None
    for step in steps:
        before, result = result, freeze(step, NOWHERE)
        _first(result).parent = before
    made = Plan(app)
    if not (isinstance(steps[0], group) and not steps[0].tasks):
        made.enter(steps, args, kwargs, options)
    return made, result


def _first(result: Any) -> Any:
    while result.parent is not None:
        result = result.parent
    return result


def ended(sig: Signature, ends: dict[str, Any]) -> Signature:
    """Return the signature with the options that say what is to happen when it ends."""
    after = ends.pop("chain", None)
    for name in ("link", "link_error"):
        for callback in as_list(ends.pop(name, None)):
            sig.append_to_list_option(name, callback)
    if isinstance(sig, group):
        sig.options.pop("link", None)
        for errback in as_list(sig.options.pop("link_error", None)):
            sig.link_error(errback)
    _, _, sig.options = sig.merged((), {}, ends)
    if after:
        from bootsteps_tasks.canvas.signature import signature

        return chain.of([sig, *(signature(task, app=sig._app) for task in reversed(after))], sig._app)  # type: ignore[no-any-return]
    return sig


def usable(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a message has a place for: those of another client's signature may be more."""
    stamps = options.get("stamped_headers") or ()
    return {name: value for name, value in options.items() if name in CALL_OPTIONS or name in stamps}


def send(sig: Signature, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Publish what goes out now and return the result to come. See `Signature.apply_async`."""
    app = sig.app
    if app.conf["task_always_eager"]:
        return sig.apply(args, kwargs, **options)
    if type(sig) is Signature:
        return _send_one(sig, args, kwargs, options)
    made, result = plan(sig, args, kwargs, options)
    if made is None:
        return None
    if made.chords:
        from bootsteps_tasks.canvas.chords import begin

        made.calls += begin(app, made.chords)
    if len(made.calls) == 1 and not isinstance(result, GroupResult):
        task, args, kwargs, options = made.calls[0]
        app.publish(task, args, kwargs, options)
        return result
    for _ in app.publish_many(made.calls):
        pass
    _note(result, options)
    return result


def _send_one(sig: Signature, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Publish a task, without all that only the other kinds need."""
    args, kwargs, options = sig.merged(args, kwargs, options)
    sent = sig.app.publish(sig._task or sig.name, args, kwargs, usable(options))
    return sig.app.AsyncResult(sent.message.id)


def _note(result: Any, options: Mapping[str, Any]) -> None:
    """Inside a task, remember what it published."""
    request = current_request()
    if request is not None and not request.called_directly and options.get("add_to_parent", True):
        root = result if isinstance(result, GroupResult) else _first(result)
        request.children.append(root.as_tuple())
