"""What follows from the end of a run (wire reference 7.4 to 7.7): callbacks, the next in a chain, errbacks, parts."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bootsteps_tasks.backend import Part, exception_to_meta, meta
from bootsteps_tasks.canvas.kinds import chain, chord, group
from bootsteps_tasks.canvas.signature import Signature, as_list, signature
from bootsteps_tasks.request import Context, executing

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["Errback", "Following", "after_failure", "after_success", "call_errbacks", "doom"]

log = logging.getLogger("bootsteps.task")


class Errback(NamedTuple):
    """An errback to be sent, once the failure that it is about is stored."""

    sig: Signature
    task_id: str
    root_id: str | None
    reply_to: str | None


@dataclass(slots=True)
class Following:
    """What is left to do when a run's own result is stored."""

    #: To be stored with it: the failures of those that will never run.
    metas: list[Mapping[str, Any]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    errbacks: list[Errback] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.metas or self.parts or self.errbacks)


def after_success(app: App, request: Context, result: Any) -> Following | None:
    """Publish callbacks and the next in the chain; return what is left. Raises what publishing raises."""
    if request.callbacks:
        _call_back(app, request, result)
    if request.chain:
        *rest, then = request.chain
        _send(app, request, signature(then, app=app), result, chain=rest or None)
    if request.chord is None or request.is_eager:
        return None
    return Following(parts=list(_part(request, "SUCCESS", result)))


def _call_back(app: App, request: Context, result: Any) -> None:
    """Groups by themselves, the others together as one group when they are several (wire reference 7.5)."""
    found = [signature(callback, app=app) for callback in as_list(request.callbacks)]
    single = [sig for sig in found if not isinstance(sig, group)]
    for sig in found:
        if isinstance(sig, group) or len(single) == 1:
            _send(app, request, sig, result)
    if len(single) > 1:
        _send(app, request, group.of(single, app), result)


def _send(app: App, request: Context, sig: Signature, result: Any, **options: Any) -> None:
    if request.is_eager:
        sig.apply((result,))
        return
    if request.reply_to and "reply_to" not in sig.options:
        options["reply_to"] = request.reply_to
    sig.apply_async((result,), **options)


def after_failure(app: App, request: Context, exc: BaseException, text: str, state: str = "FAILURE") -> Following:
    """Call the errbacks that are called here; return what is left. One that was revoked has no errbacks."""
    found = Following()
    if state == "FAILURE":
        found.errbacks = call_errbacks(app, request, request.id or "", exc, text)
    if request.is_eager:
        send_errbacks(found.errbacks, eager=True)
        return Following()
    for sig in request.chain or ():
        doom(signature(sig, app=app), exc, text, found, request)
    if request.chord is not None:
        found.parts += _part(request, state, exception_to_meta(exc))
    return found


def _part(request: Context, state: str, result: Any) -> Iterator[Part]:
    if isinstance(request.group, str) and request.group and request.id:
        place = request.group_index if isinstance(request.group_index, int) else None
        where = request.group, request.id, place
        yield Part(*where, state, result, request.chord, request.root_id, request.reply_to)


def doom(sig: Signature, exc: BaseException, text: str | None, found: Following, request: Context | None) -> None:
    """Add the failure of a signature that will never run, and of all in it that somebody may wait for."""
    if isinstance(sig, chain | group):
        for task in sig.tasks:
            doom(task, exc, text, found, request)
    elif isinstance(sig, chord):
        if sig.body is not None:
            doom(sig.body, exc, text, found, request)
    else:
        _doom_task(sig, exc, text, found, request)
    for after in as_list(sig.options.get("chain")):
        doom(signature(after, app=sig._app), exc, text, found, request)


def _doom_task(sig: Signature, exc: BaseException, text: str | None, found: Following, request: Any) -> None:
    options, conf = sig.options, sig.app.conf
    task_id, group_id = options.get("task_id"), options.get("group_id")
    if task_id is None or any(other["task_id"] == task_id for other in found.metas):
        return
    known: dict[str, Any] = {"group_id": group_id} if group_id else {}
    reply_to = options.get("reply_to") or (request.reply_to if request is not None else None)
    found.metas.append(meta(task_id, "FAILURE", exc, text, conf=conf, reply_to=reply_to, **known))
    if (body := options.get("chord")) is not None and group_id:
        root_id = request.root_id if request is not None else None
        index = options.get("group_index")
        found.parts.append(
            Part(group_id, task_id, index, "FAILURE", exception_to_meta(exc), body, root_id, reply_to)
        )  # fmt: skip


def call_errbacks(app: App, owner: Any, task_id: str, exc: BaseException, text: str | None = None) -> list[Errback]:
    """Call the errbacks of a request or a signature that take `(request, exc, traceback)`; return the others."""
    ours = isinstance(owner, Context)
    request = owner if ours else Context(id=task_id, task=owner.name, called_directly=False)
    others = []
    for errback in as_list(owner.errbacks if ours else owner.options.get("link_error")):
        sig = signature(errback, app=app)
        if not _takes_several(app, sig):
            others.append(Errback(sig, task_id, request.root_id or task_id, request.reply_to))
            continue
        try:
            with executing(request):
                sig(request, exc, text)
        except Exception:
            log.exception("errback %s of %s failed", sig.name, task_id)
    return others


def _takes_several(app: App, sig: Signature) -> bool:
    """Whether the failure's arguments, after those that the signature has, are more than one (wire reference 7.6)."""
    task = app.tasks.get(sig.name)
    if task is None or task.bind:
        return False
    bound = () if sig.immutable else sig.kwargs
    names = [
        name
        for name, parameter in inspect.signature(task.run).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) and name not in bound
    ]
    several = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(task.run).parameters.values())
    return several or len(names) - (0 if sig.immutable else len(sig.args)) > 1


def send_errbacks(errbacks: Iterable[Errback], eager: bool = False) -> None:
    """Send errbacks, each with the id of what failed. Raises `OperationalError` when the broker stays away."""
    from kombu.exceptions import OperationalError

    for sig, task_id, root_id, reply_to in errbacks:
        try:
            if eager:
                sig.apply((task_id,))
            else:
                sig.apply_async((task_id,), parent_id=task_id, root_id=root_id, reply_to=reply_to)
        except OperationalError:
            raise
        except Exception:
            # It takes no such argument, or its queue is unknown: trying again would not help.
            log.exception("errback %s of %s cannot be sent", sig.name, task_id)
