"""What travels to a pool child: a message as it came, its body untouched."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

__all__ = ["Envelope"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parts of a message that a child needs to run its task."""

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    delivery_info: dict[str, Any]
    hostname: str

    @classmethod
    def of(cls, message: Any, hostname: str) -> Envelope:
        """Return the envelope of a kombu message."""
        body = message.body
        return cls(
            body.encode() if isinstance(body, str) else bytes(body),
            message.content_type,
            message.content_encoding,
            message.headers or {},
            message.properties or {},
            message.delivery_info or {},
            hostname,
        )

    def pack(self) -> bytes:
        """Return it as bytes for a child of this worker (never for anybody else: it is a pickle)."""
        parts = (self.body, self.content_type, self.content_encoding, self.headers, self.properties)
        return pickle.dumps((*parts, self.delivery_info, self.hostname), protocol=5)

    @classmethod
    def unpack(cls, packed: bytes) -> Envelope:
        """The reverse of `pack`."""
        return cls(*pickle.loads(packed))
