"""What of a call's options travels in the body's third part, and what in headers of its own."""

from __future__ import annotations

from typing import Any

from bootsteps_tasks.canvas.signature import as_list, plain

__all__ = ["embed_options"]

FOLLOWING = ("link", "link_error", "chain", "chord")
#: What is neither an argument of `encode_task` nor a stamp.
OF_THE_CANVAS = frozenset((*FOLLOWING, "stamped_headers", "replaced_task_nesting"))


def embed_options(options: dict[str, Any]) -> None:
    """Replace, in the options of `encode_task`, those of the canvas by `embed` and `headers` (wire reference 3)."""
    if OF_THE_CANVAS.isdisjoint(options):
        return
    # JSON takes signatures as they are; copying a long chain at each of its steps would be most of the work.
    made: Any = (lambda value: value) if options["serializer"] == "json" else plain
    link, errbacks, chain, chord = (options.pop(name, None) for name in FOLLOWING)
    if link or errbacks or chain is not None or chord is not None:
        options["embed"] = {
            "callbacks": made(as_list(link)) or None,
            "errbacks": made(as_list(errbacks)) or None,
            "chain": None if chain is None else made(chain),
            "chord": None if chord is None else made(chord),
        }
    if (names := options.pop("stamped_headers", None)) is not None:
        stamps = {name: options.pop(name, None) for name in names}
        options["headers"] = {**(options.get("headers") or {}), "stamped_headers": list(names), "stamps": stamps}
    if nesting := options.pop("replaced_task_nesting", None):
        options["headers"] = {**(options.get("headers") or {}), "replaced_task_nesting": nesting}
