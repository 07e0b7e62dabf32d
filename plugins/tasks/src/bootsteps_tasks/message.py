"""Protocol 2 on the wire, read: a message as a task (wire reference 3). `encoding` writes it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bootsteps_tasks.content import content_types, is_plain_json, plain_json
from bootsteps_tasks.encoding import EMPTY_EMBED, aware
from bootsteps_tasks.errors import InvalidMessage
from bootsteps_tasks.repr import bounded_repr

__all__ = [
    "InvalidMessage",
    "TaskHeaders",
    "decode",
    "decode_body",
    "parse_headers",
    "parse_plain",
]

TEXT = frozenset({str})
#: How the header `timelimit` says that there is none.
UNLIMITED = [None, None]


@dataclass(slots=True, unsafe_hash=True)
class TaskHeaders:
    """What a worker knows of a task without looking into its body. Not to be changed.

    Not frozen, nor are the others that are made for each message: a frozen dataclass takes three times as long to make.
    """

    id: str
    name: str
    #: Earliest start, None for at once.
    eta: datetime | None
    #: Not to be run after this moment.
    expires: datetime | None
    #: Attempts so far.
    retries: int
    #: Hard and soft limit in seconds.
    timelimit: tuple[float | None, float | None]
    root_id: str | None
    parent_id: str | None
    group: str | None
    group_index: int | None
    #: None: as the task says.
    ignore_result: bool | None
    argsrepr: str
    kwargsrepr: str
    origin: str | None
    reply_to: str | None
    correlation_id: str
    #: A name to show instead of `name`.
    shadow: str | None
    #: The broker says that it was delivered before.
    redelivered: bool = False
    #: By which it came; empty where nobody told.
    routing_key: str = ""


def parse_headers(
    headers: Mapping[str, Any] | None,
    properties: Mapping[str, Any] | None = None,
    delivery_info: Mapping[str, Any] | None = None,
) -> TaskHeaders:
    """Return the task that a message asks for. Raises `InvalidMessage` with the reason."""
    headers, properties, delivery_info = headers or {}, properties or {}, delivery_info or {}
    name = headers.get("task")
    if not name:
        raise InvalidMessage("there is no 'task' in the headers: no task, or protocol 1, which is not read")
    task_id = headers.get("id")
    if not isinstance(name, str) or not isinstance(task_id, str) or not task_id:
        raise InvalidMessage(f"task {name!r} has no usable 'id' in its headers: {task_id!r}")
    eta, expires, limits = headers.get("eta"), headers.get("expires"), headers.get("timelimit")
    found, told = headers.get, properties.get
    return TaskHeaders(  # in their order: names take half as long again, for each message twice
        task_id,
        name,
        None if eta is None else _date("eta", eta),
        None if expires is None else _date("expires", expires),
        _whole("retries", retries) if (retries := found("retries")) else 0,
        (None, None) if limits is None or limits == UNLIMITED else _limits(limits),
        found("root_id"),
        found("parent_id"),
        found("group"),
        found("group_index"),
        found("ignore_result"),
        found("argsrepr") or "",
        found("kwargsrepr") or "",
        found("origin"),
        told("reply_to") or None,
        told("correlation_id") or task_id,
        found("shadow"),
        bool(found("redelivered") or delivery_info.get("redelivered")),
        delivery_info.get("routing_key") or "",
    )


#: The headers of protocol 2 as Celery and we write them, and how the properties begin, where no string is escaped (so a
#: quote ends it): of a task that is due at once, has no limits and no headers of its own.
PLAIN_HEADERS = re.compile(
    r'\{"lang": "[^"]*", "task": "([^"]+)", "id": "([^"]+)", "shadow": null, "eta": null, "expires": null, '
    r'"group": (?:null|"([^"]*)"), "group_index": (?:null|([0-9]+)), "retries": ([0-9]+), "timelimit": \[null, null\], '
    r'"root_id": (?:null|"([^"]*)"), "parent_id": (?:null|"([^"]*)"), "argsrepr": "([^"]*)", "kwargsrepr": "([^"]*)", '
    r'"origin": "([^"]*)", "ignore_result": (null|true|false), "replaced_task_nesting": 0, '
    r'"stamped_headers": null, "stamps": \{\}\}'
)
PLAIN_PROPERTIES = re.compile(r'\{"correlation_id": "([^"]*)", "reply_to": "([^"]*)", "delivery_mode"')
FLAGS = {"null": None, "true": True, "false": False}


def parse_plain(headers: str, properties: str) -> TaskHeaders | None:
    """Return what `parse_headers` would for these two as they came, JSON; None where that has to be asked.

    Decodes nothing, and so takes a third of the time. Only for JSON in which no character is escaped, and which says
    nothing of a redelivery.
    """
    found, told = PLAIN_HEADERS.fullmatch(headers), PLAIN_PROPERTIES.match(properties)
    if found is None or told is None:
        return None
    name, task_id, group, index, retries, root, parent, args, kwargs, sender, ignored = found.groups()
    correlation_id, reply_to = told.groups()
    place = None if index is None else int(index)
    again = 0 if retries == "0" else int(retries)
    # In their order, as above.
    return TaskHeaders(
        *(task_id, name, None, None, again, (None, None), root, parent, group, place, FLAGS[ignored]),
        *(args, kwargs, sender, reply_to or None, correlation_id or task_id, None),
    )


def _date(name: str, value: Any) -> datetime:
    try:
        return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    except (TypeError, ValueError):
        raise InvalidMessage(f"header {name!r} is no ISO 8601 date: {value!r}") from None


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int):
        raise InvalidMessage(f"header {name!r} is no whole number: {value!r}")
    return value


def _limits(value: Any) -> tuple[float | None, float | None]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InvalidMessage(f"header 'timelimit' is not [hard, soft]: {value!r}")
    if not all(limit is None or (isinstance(limit, int | float) and limit >= 0) for limit in value):
        raise InvalidMessage(f"header 'timelimit' does not hold seconds: {value!r}")
    return value[0] or None, value[1] or None


def decode_body(
    body: bytes | str | memoryview,
    content_type: str | None,
    content_encoding: str | None,
    compression: str | None,
    accept: Collection[str],
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return `(args, kwargs, embed)`, also of a body of protocol 1. Only for the process that runs the task.

    `accept` holds serializer names or content types. Raises `InvalidMessage` for a content type that is not among them
    (nothing is decoded then), a body that cannot be decoded, and one that is not `[args, kwargs, embed]`.
    """
    found = decode(body, content_type, content_encoding, compression, accept)
    if type(found) is list and len(found) == 3:
        args, kwargs, embed = found
        if type(args) is list and type(kwargs) is dict and set(map(type, kwargs)) <= TEXT and embed == EMPTY_EMBED:
            return args, kwargs, embed  # as most are
    if isinstance(found, Mapping) and "args" in found:
        found = [found["args"], found.get("kwargs") or {}, {key: found.get(key) for key in EMPTY_EMBED}]
    if not isinstance(found, list | tuple) or len(found) != 3:
        raise InvalidMessage("the body is not [args, kwargs, embed]")
    args, kwargs, embed = found
    if not isinstance(args, list | tuple):
        raise InvalidMessage(f"the arguments are not a list but a {type(args).__name__}")
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise InvalidMessage(f"the keyword arguments are not a mapping of names: {bounded_repr(kwargs)}")
    if not isinstance(embed, Mapping | None):
        raise InvalidMessage(f"the third part of the body is neither a mapping nor null: {bounded_repr(embed)}")
    if embed and (wrong := next((key for key in EMPTY_EMBED if not _holds_signatures(key, embed.get(key))), None)):
        raise InvalidMessage(f"{wrong!r} in the body's third part is no signature: {bounded_repr(embed[wrong], 200)}")
    return list(args), dict(kwargs), dict(embed or {})


def _holds_signatures(key: str, value: Any) -> bool:
    """Whether what stands there can be called, as far as its outside shows (wire reference 3.4, 3.5)."""
    if value is None or key == "chord":
        return value is None or _is_signature(value)
    found = [value] if isinstance(value, Mapping) and key != "chain" else value
    return isinstance(found, list | tuple) and all(map(_is_signature, found))


def _is_signature(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("task"), str):
        return False
    args, kwargs, options = (value.get(name) for name in ("args", "kwargs", "options"))
    return isinstance(args, list | tuple | None) and all(isinstance(item, Mapping | None) for item in (kwargs, options))


def decode(
    body: Any, content_type: str | None, encoding: str | None, compression: str | None, accept: Collection[str]
) -> Any:
    """Return what a body holds. Raises `InvalidMessage` as `decode_body`."""
    content_type, encoding = content_type or "application/data", encoding or "utf-8"
    allowed = content_types(accept if type(accept) is frozenset else frozenset(accept))
    # kombu lets these through without a look; no task body is raw data.
    if content_type not in allowed:
        raise InvalidMessage(f"content type {content_type!r} is not among accept_content {sorted(accept)}")
    try:
        if not compression and content_type == "application/json" and is_plain_json(body, encoding):
            return plain_json(body.decode())
        return _loads(body, content_type, encoding, compression, allowed)
    except InvalidMessage:
        raise
    except Exception as exc:
        # Whatever a decompressor or deserializer raises for bytes that are not its own.
        raise InvalidMessage(f"the body cannot be decoded as {content_type}: {exc}") from exc


def _loads(body: Any, content_type: str, encoding: str, compression: str | None, allowed: Collection[str]) -> Any:
    from kombu.compression import decompress
    from kombu.exceptions import ContentDisallowed
    from kombu.serialization import loads

    raw = decompress(body, compression) if compression else body
    try:
        return loads(raw, content_type, encoding, accept=allowed)
    except ContentDisallowed as exc:
        raise InvalidMessage(str(exc)) from exc
