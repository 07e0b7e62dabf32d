"""What `a | b` is: which kinds become which when one follows the other."""

from __future__ import annotations

from typing import Any

from bootsteps_tasks.canvas.kinds import chain, chord, group
from bootsteps_tasks.canvas.signature import Signature

__all__ = ["combined", "single"]


def combined(first: Signature, then: Signature) -> Any:
    """Return what runs `then` after `first`; neither is changed."""
    then = single(then)
    if isinstance(then, group) and not then.tasks:
        return first
    if isinstance(first, group):
        return chord(first, then, app=first._app)
    if isinstance(first, chain):
        return _longer(first, then)
    if isinstance(first, chord) and not isinstance(then, group | chain):
        return _with_body(first, then)
    return _chained([first.clone()], then, first)


def single(sig: Signature) -> Signature:
    """Return the task of a group that has only one, else the signature itself."""
    if isinstance(sig, group) and len(sig.tasks) == 1:
        only: Signature = sig.tasks[0]
        return only
    return sig


def _longer(first: chain, then: Signature) -> Any:
    from bootsteps_tasks.canvas.freezing import unchained

    tasks = unchained(first)
    if not tasks:
        return then
    if isinstance(then, chain):
        found: Any = chain.of(tasks, first._app)
        for task in unchained(then):
            found = combined(found, task)
        return found
    last = tasks[-1]
    if isinstance(last, group):
        tasks[-1] = chord(last, then, app=first._app)
        return chain.of(tasks, first._app)
    if isinstance(last, chord) and not isinstance(then, chord):
        tasks[-1] = _with_body(last, then)
        return chain.of(tasks, first._app)
    return _chained(tasks, then, first)


def _with_body(first: chord, then: Signature) -> Any:
    found = first.clone()
    found.body = then.clone() if found.body is None else found.body | then
    return found


def _chained(tasks: list[Signature], then: Signature, first: Signature) -> Any:
    from bootsteps_tasks.canvas.freezing import unchained

    more = unchained(then) if isinstance(then, chain) else [then.clone()]
    return chain.of([*tasks, *more], first._app)
