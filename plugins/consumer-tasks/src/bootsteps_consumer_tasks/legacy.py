"""Messages of protocol 1, whose headers are empty: everything stands in the body (wire reference 4).

The one exception to the rule that the parent does not look into a body. What is found there is put into the headers;
the body goes to the child as it came.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, tzinfo
from typing import Any

from bootsteps_tasks.message import InvalidMessage, decode
from bootsteps_tasks.repr import bounded_repr

__all__ = ["modern"]

#: Keys of the body that have a header of the same name.
SAME = ("task", "id", "retries", "timelimit", "group", "group_index", "eta", "expires")


def modern(message: Any, accept: Collection[str], zone: tzinfo) -> Any:
    """Give a message of protocol 1 the headers of protocol 2, and return it.

    Naive moments of a client that does not use UTC are in `zone`. Raises `InvalidMessage` when it is no task.
    """
    headers = message.headers if isinstance(message.headers, Mapping) else {}
    compression = headers.get("compression") if message.errors else None  # kombu has decompressed it
    body = decode(message.body, message.content_type, message.content_encoding, compression, accept)
    if not isinstance(body, Mapping) or not isinstance(body.get("task"), str):
        raise InvalidMessage("it names no task, neither in its headers nor, as protocol 1 does, in its body")
    found = {key: body[key] for key in SAME if body.get(key) is not None}
    if body.get("taskset") is not None:
        found.setdefault("group", body["taskset"])
    if body.get("utc") is False:
        found.update((key, _in_zone(found[key], zone)) for key in ("eta", "expires") if key in found)
    found["argsrepr"] = bounded_repr(tuple(body.get("args") or ()))
    found["kwargsrepr"] = bounded_repr(dict(body.get("kwargs") or {}))
    message.headers = {**found, **headers}
    return message


def _in_zone(moment: Any, zone: tzinfo) -> Any:
    """Return a moment with its offset; what is no date is left for those who complain of it."""
    try:
        found = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    except (TypeError, ValueError):
        return moment
    return (found.replace(tzinfo=zone) if found.tzinfo is None else found).isoformat()
