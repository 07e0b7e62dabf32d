# mypy: disable-error-code="no-untyped-call"
"""kombu's envelope, and back."""

from __future__ import annotations

import json
from binascii import a2b_base64
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import JSONEncoder, loads

__all__ = ["Message", "decode", "encode", "is_redelivered", "mark_redelivered", "message_id"]

encode = JSONEncoder().encode
_decode = json.JSONDecoder().decode


class Message(virtual.Message):
    """A delivered message; `body` is bytes, as it was published."""

    def __init__(
        self,
        body: bytes,
        channel: Any,
        delivery_tag: str,
        content_type: str | None,
        content_encoding: str | None,
        headers: dict[str, Any],
        properties: dict[str, Any],
        delivery_info: dict[str, Any],
    ) -> None:
        if type(headers) is not dict or "compression" in headers:
            # Past virtual.Message, which would keep the envelope: the server has it.
            super(virtual.Message, self).__init__(
                body, delivery_tag, content_type, content_encoding, delivery_info, properties, headers, channel=channel
            )
            return
        # What kombu does for the others, one call and some questions shorter.
        self.errors = []
        self.channel = channel
        self.delivery_tag = delivery_tag
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.delivery_info = delivery_info
        self.headers = headers
        self.properties = properties
        self._decoded_cache = None
        self._state = "RECEIVED"
        self.accept = None
        self.body = body


def read(raw: bytes) -> dict[str, Any]:
    """Return the envelope. Raises ValueError or TypeError when it is none."""
    envelope = loads(raw) if b'"__type__"' in raw else _decode(raw.decode())
    if not isinstance(envelope, dict) or not isinstance(envelope.get("properties"), dict):
        raise ValueError("it is no envelope of kombu's")
    return envelope


def is_redelivered(envelope: dict[str, Any]) -> bool:
    """Say whether somebody had the message before and did not acknowledge it."""
    headers, info = envelope.get("headers"), envelope["properties"].get("delivery_info")
    return bool(
        (isinstance(headers, dict) and headers.get("redelivered"))
        or (isinstance(info, dict) and info.get("redelivered"))
    )


def mark_redelivered(envelope: dict[str, Any]) -> str:
    """Return the envelope as kombu writes one that was not acknowledged."""
    for marked in (envelope.setdefault("headers", {}), envelope["properties"].setdefault("delivery_info", {})):
        if isinstance(marked, dict):
            marked["redelivered"] = True
    return encode(envelope)


def message_id(envelope: dict[str, Any]) -> str | None:
    """Return what names the message in all its deliveries: its publisher's tag."""
    found = envelope["properties"].get("delivery_tag")
    return None if found is None else str(found)


def decode(
    envelope: dict[str, Any], channel: Any, tag: str, queue: str, consumer_tag: str | None, count: int
) -> Message:
    """Return the message of an envelope. Raises ValueError or TypeError when it is damaged.

    `count` is the number of earlier deliveries that were not acknowledged.
    """
    properties = envelope["properties"]
    body = envelope.get("body") or b""
    if isinstance(body, str):
        body = _body(body, properties.get("body_encoding"), channel)
    info = dict(properties.get("delivery_info") or {})
    info.setdefault("exchange", "")
    info.setdefault("routing_key", queue)
    info["delivery_count"] = count
    if consumer_tag is not None:
        info["consumer_tag"] = consumer_tag
    content = envelope.get("content-type"), envelope.get("content-encoding")
    return Message(body, channel, tag, *content, envelope.get("headers") or {}, properties, info)


def _body(text: str, encoding: str | None, channel: Any) -> bytes:
    if encoding == "base64":
        return a2b_base64(text)
    decoded = channel.decode_body(text, encoding)
    return decoded.encode() if isinstance(decoded, str) else bytes(decoded)
