"""Chords: counting the parts of a header, and running the body when all have returned (wire reference 16)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps.errors import LackingCapability
from bootsteps_tasks.backend import ChordBackend, Claim, Part, exception_from_meta
from bootsteps_tasks.canvas.following import Following, call_errbacks, doom, send_errbacks
from bootsteps_tasks.canvas.kinds import group
from bootsteps_tasks.canvas.signature import Signature, signature
from bootsteps_tasks.errors import ChordError
from bootsteps_tasks.groups import GroupResult
from bootsteps_tasks.request import Context

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.canvas.sending import Call, NewChord

__all__ = ["begin", "body_failed", "native", "settle"]

log = logging.getLogger("bootsteps.task")


def native(app: App) -> ChordBackend | None:
    """Return the result backend if it counts parts by itself."""
    backend: Any = app.backend
    return backend if isinstance(backend, ChordBackend) else None


def begin(app: App, chords: Sequence[NewChord]) -> list[Call]:
    """Get ready to count chords whose headers are about to be published; return messages to publish with them.

    Raises `LackingCapability` when the result backend can have no chords.
    """
    if why := getattr(app.backend, "no_chords", ""):
        what = f"a chord needs a result backend that keeps results: {why}"
        raise LackingCapability(what, ("setting result_backend",), "result_backend='redis://...' or sqlite, or sql")
    backend = native(app)
    if backend is None:
        return [_unlock(app, found) for found in chords]
    for found in chords:
        nested = any(isinstance(result, GroupResult) for result in found.results)
        backend.begin_chord(found.group_id, found.size, found.results.as_tuple() if nested else None)
    return []


def _unlock(app: App, found: NewChord) -> Call:
    """Return the message that asks a worker to look, again and again, whether the header is done (16.3)."""
    from bootsteps_tasks.canvas.sending import Call

    interval = found.options.get("interval")
    kwargs = {
        "interval": interval,
        "max_retries": found.options.get("max_retries"),
        "result": [result.as_tuple() for result in found.results],
    }
    body = app.tasks.get(found.body["task"])
    queue = found.body["options"].get("queue") or getattr(body, "queue", None)
    countdown = app.conf["result_chord_retry_interval"] if interval is None else interval
    options = {"countdown": countdown, "queue": queue, "ignore_result": True, "add_to_parent": False}
    return Call("celery.chord_unlock", (found.group_id, found.body), kwargs, options)


def settle(app: App, found: Sequence[Following]) -> None:
    """Do what is left after the results of some runs, and the `metas` here, are stored. Harmless when repeated."""
    parts = [part for following in found for part in following.parts]
    backend = native(app) if parts else None
    if backend is not None:
        for claim in backend.return_parts(parts):
            _complete_or_tell(app, claim)
            backend.finish_chord(claim)
    send_errbacks(errback for following in found for errback in following.errbacks)


def _complete_or_tell(app: App, claim: Claim) -> None:
    """Run the body, or let it fail when that can never be done. Raises `OperationalError`: then it can, later."""
    from kombu.exceptions import OperationalError

    part = claim.part
    try:
        _complete(app, claim)
    except OperationalError:
        raise
    except Exception as exc:
        # E.g. a body that does not take the list, a queue that nobody knows, or something that is no signature at all.
        log.exception("the body of chord %s cannot be sent", part.group_id)
        body_failed(app, signature(part.body, app=app), ChordError(f"Callback error: {exc!r}"), part)


def _complete(app: App, claim: Claim) -> None:
    part = claim.part
    body = signature(part.body, app=app)
    failed = next((found for found in claim.results if found[1] in ("FAILURE", "REVOKED")), None)
    if failed is not None:
        error = exception_from_meta(failed[2])
        body_failed(app, body, ChordError(f"Dependency {failed[0]} raised {error!r}"), part)
        return
    options: dict[str, Any] = {"parent_id": part.task_id, "root_id": part.root_id}
    if part.reply_to and "reply_to" not in body.options:
        options["reply_to"] = part.reply_to
    body.apply_async((values_of(app, claim),), **options)


def values_of(app: App, claim: Claim) -> list[Any]:
    """Return the header's results, in the shape of the header."""
    if claim.tree is None:
        return [result for _, _, result in claim.results]
    values = {task_id: result for task_id, _, result in claim.results}

    def shaped(found: Any) -> Any:
        (task_id, _), members = found
        if members is None:
            return values[task_id] if task_id in values else app.AsyncResult(task_id).result
        return [shaped(member) for member in members]

    return [shaped(member) for member in claim.tree[1]]


def body_failed(app: App, body: Signature, exc: BaseException, part: Part | None = None) -> None:
    """Let a body that cannot run fail: its errbacks, its result, and all that waited for it."""
    request = Context(root_id=part.root_id, reply_to=part.reply_to) if part is not None else None
    found = Following()
    doom(body, exc, None, found, request)
    owners: Iterable[Signature] = body.tasks if isinstance(body, group) else (body,)
    for owner in owners:
        found.errbacks += call_errbacks(app, owner, owner.options.get("task_id") or "", exc)
    app.backend.store(found.metas)
    settle(app, [found])
