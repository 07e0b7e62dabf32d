# mypy: disable-error-code="no-untyped-call"
"""A kombu message as a row, and back."""

from __future__ import annotations

import json
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.utils.json import JSONEncoder, loads

from bootsteps_transport_sqlite.messages import NewMessage, Row

__all__ = ["Message", "decode", "encode"]

_encode = JSONEncoder(separators=(",", ":")).encode
_decode = json.loads


def encode(message: dict[str, Any], exchange: str, routing_key: str, delay_s: float = 0.0) -> NewMessage:
    """Return the row of a message that `Channel.prepare_message` made. The body is stored as it is."""
    properties = message["properties"]
    body = message["body"]
    kept = {k: v for k, v in properties.items() if k not in ("delivery_info", "delivery_tag", "body_encoding")}
    meta = _encode(
        (
            message["content-type"],
            message["content-encoding"],
            message["headers"],
            kept,
            exchange,
            routing_key,
        )
    )
    return NewMessage(
        exchange,
        routing_key,
        _priority(properties),
        meta,
        body.encode() if isinstance(body, str) else bytes(body),
        _expiration_ms(properties),
        delay_s,
        properties.get("delivery_mode") != 1,
    )


def _priority(properties: dict[str, Any]) -> int:
    try:
        return max(0, min(9, int(properties.get("priority") or 0)))
    except (TypeError, ValueError):
        return 0


def _expiration_ms(properties: dict[str, Any]) -> int | None:
    value = properties.get("expiration")
    if value is None:
        return None
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        raise ChannelError(
            f"PRECONDITION_FAILED - expiration {value!r} is no number of milliseconds",
            (60, 40),
            "Channel.basic_publish",
            "406",
        ) from None


class Message(virtual.Message):
    """A delivered message; `body` is bytes, as it was published."""

    def __init__(self, **fields: Any) -> None:
        # Past virtual.Message, which would decode an envelope that we do not have.
        super(virtual.Message, self).__init__(**fields)


def decode(row: Row, channel: Any, tag: int, consumer_tag: str | None) -> Message:
    """Return the message of a row. Raises ValueError when the row is damaged."""
    read = loads if '"__type__"' in row.meta else _decode
    content_type, content_encoding, headers, properties, exchange, routing_key = read(row.meta)
    redelivered = row.deliveries > 1
    info = {
        "exchange": exchange,
        "routing_key": routing_key,
        "redelivered": redelivered,
        "delivery_count": row.deliveries - 1,
        "delivery_tag": tag,
        "priority": row.priority,
    }
    if consumer_tag is not None:
        info["consumer_tag"] = consumer_tag
    properties["delivery_info"] = info
    properties["delivery_tag"] = tag
    if redelivered:
        headers["redelivered"] = True
    return Message(
        body=row.body,
        channel=channel,
        delivery_tag=tag,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        properties=properties,
        delivery_info=info,
    )
