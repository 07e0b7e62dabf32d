# mypy: disable-error-code="no-untyped-call"
"""The delivered message."""

from __future__ import annotations

from typing import Any

from kombu.message import Message as KombuMessage

__all__ = ["Message"]


class Message(KombuMessage):
    """A delivered message that is not compressed; `body` is bytes, as it was published."""

    #: kombu's, of each message; what most never have stands here.
    errors: Any = None
    accept: Any = None
    _decoded_cache: Any = None
    _state: Any = "RECEIVED"

    def __init__(
        self, body: bytes, channel: Any, delivery_tag: int, delivery_info: dict[str, Any], properties: dict[str, Any],
        headers: dict[str, Any],
    ) -> None:  # fmt: skip
        # What kombu does, one call and some questions shorter.
        self.channel = channel
        self.delivery_tag = delivery_tag
        self.content_type = properties.get("content_type")
        self.content_encoding = properties.get("content_encoding")
        self.delivery_info = delivery_info
        self.headers = headers
        self.properties = properties
        self.body = body
