"""Stamps: headers that a whole canvas carries, down to its callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bootsteps_tasks.canvas.kinds import chain, chord, group
from bootsteps_tasks.canvas.signature import Signature, as_list, signature

__all__ = ["StampingVisitor", "stamp"]


class StampingVisitor:
    """Decides the stamps of each part of a canvas: override what you need. Each method returns stamps to add."""

    def on_signature(self, sig: Signature, **stamps: Any) -> Mapping[str, Any]:
        """A task."""
        return {}

    def on_group_start(self, group: Signature, **stamps: Any) -> Mapping[str, Any]:
        """A group, before its tasks."""
        return {}

    def on_group_end(self, group: Signature, **stamps: Any) -> None:
        """A group, after its tasks."""

    def on_chain_start(self, chain: Signature, **stamps: Any) -> Mapping[str, Any]:
        """A chain, before its tasks."""
        return {}

    def on_chain_end(self, chain: Signature, **stamps: Any) -> None:
        """A chain, after its tasks."""

    def on_chord_header_start(self, sig: Signature, **stamps: Any) -> Mapping[str, Any]:
        """A chord, before the tasks of its header: as a group, unless overridden."""
        return self.on_group_start(group.of(sig["kwargs"]["header"], sig._app), **stamps)

    def on_chord_header_end(self, sig: Signature, **stamps: Any) -> None:
        """A chord, after the tasks of its header."""
        self.on_group_end(group.of(sig["kwargs"]["header"], sig._app), **stamps)

    def on_chord_body(self, sig: Signature, **stamps: Any) -> Mapping[str, Any]:
        """A chord, before its body."""
        return {}

    def on_callback(self, callback: Signature, **stamps: Any) -> Mapping[str, Any]:
        """A callback, before it is stamped as a task."""
        return {}

    def on_errback(self, errback: Signature, **stamps: Any) -> Mapping[str, Any]:
        """An errback, before it is stamped as a task."""
        return {}


NOBODY = StampingVisitor()


def stamp(sig: Signature, visitor: StampingVisitor | None, append: bool, stamps: Mapping[str, Any]) -> None:
    """Stamp a signature of any kind and all in it. See `Signature.stamp`."""
    visitor = visitor or NOBODY
    _links(sig, visitor, append, stamps)
    if isinstance(sig, chain):
        found = _joined(stamps, visitor.on_chain_start(sig, **stamps), append)
        _each(sig.tasks, visitor, append, found)
        visitor.on_chain_end(sig, **found)
    elif isinstance(sig, group):
        found = _joined(stamps, visitor.on_group_start(sig, **stamps), append)
        _each(sig.tasks, visitor, append, found)
        visitor.on_group_end(sig, **found)
    elif isinstance(sig, chord):
        _chord(sig, visitor, append, stamps)
    else:
        _put(sig, _joined(stamps, visitor.on_signature(sig, **stamps), append), append)


def _chord(sig: chord, visitor: StampingVisitor, append: bool, stamps: Mapping[str, Any]) -> None:
    found = _joined(stamps, visitor.on_chord_header_start(sig, **stamps), append)
    _each(sig.tasks, visitor, append, found)
    visitor.on_chord_header_end(sig, **found)
    if sig.body is not None:
        stamp(sig.body, visitor, append, _joined(found, visitor.on_chord_body(sig, **found), append))


def _each(tasks: Iterable[Signature], visitor: StampingVisitor, append: bool, stamps: Mapping[str, Any]) -> None:
    for task in tasks:
        stamp(task, visitor, append, stamps)


def _links(sig: Signature, visitor: StampingVisitor, append: bool, stamps: Mapping[str, Any]) -> None:
    for option, told in (("link", visitor.on_callback), ("link_error", visitor.on_errback)):
        if option in sig.options:
            found = sig.options[option] = [signature(link, app=sig._app) for link in as_list(sig.options[option])]
            for link in found:
                stamp(link, visitor, append, _joined(stamps, told(link, **stamps), append))


def _joined(stamps: Mapping[str, Any], more: Mapping[str, Any] | None, append: bool) -> dict[str, Any]:
    """Return both; where both have one, the later, or with `append` a list of both.

    A visitor may return `stamped_headers` too: then only what these name are stamps, the rest being other options.
    """
    found = dict(stamps)
    for name, value in (more or {}).items():
        if name == "stamped_headers":
            found[name] = [*found.get(name, stamps), *value]
        elif append and name in found:
            found[name] = [*as_list(found[name]), *as_list(value)]
        else:
            found[name] = value
    return found


def _put(sig: Signature, stamps: Mapping[str, Any], append: bool) -> None:
    options = sig.options
    named = stamps.get("stamped_headers")
    given = {name: value for name, value in stamps.items() if name != "stamped_headers"}
    before = {name: options[name] for name in options.get("stamped_headers") or () if name in options}
    names = dict.fromkeys((*(options.get("stamped_headers") or ()), *(given if named is None else named)))
    options.update(_joined(before, given, append))
    options["stamped_headers"] = [name for name in names if name in options]
