"""Messages to publish, as the bytes of their frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any

from amqp.serialization import dumps

__all__ = ["Frames"]

HEAD = Struct(">BHI").pack
U32 = Struct(">I").pack
CONTENT = Struct(">BHIHHQ").pack
I32 = Struct(">ci").pack
END = b"\xce"
FRAME_OVERHEAD = 8
#: How the method begins: basic.publish, a field of no use.
PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
#: The properties in their order: name, bit. Texts, but for these four.
ORDER = (
    ("content_type", 0x8000), ("content_encoding", 0x4000), ("application_headers", 0x2000), ("delivery_mode", 0x1000),
    ("priority", 0x0800), ("correlation_id", 0x0400), ("reply_to", 0x0200), ("expiration", 0x0100),
    ("message_id", 0x0080), ("timestamp", 0x0040), ("type", 0x0020), ("user_id", 0x0010), ("app_id", 0x0008),
    ("cluster_id", 0x0004),
)  # fmt: skip
OCTETS = ("delivery_mode", "priority")
#: Names of headers that are remembered as bytes.
MOST_NAMES = 1000


class Frames:
    """Makes the frames of messages. One for each channel, which it writes for."""

    def __init__(self) -> None:
        self._names: dict[str, bytes] = {}

    def of(
        self, channel: int, largest: int, message: Any, exchange: str, routing_key: str, mandatory: bool = False
    ) -> Iterator[bytes]:
        """Yield the frames of a message; a `mandatory` one is returned if no queue takes it."""
        properties = message.properties
        body = message.body
        if isinstance(body, str):
            properties["content_encoding"] = properties.get("content_encoding") or "utf-8"
            body = body.encode(properties["content_encoding"])
        method = b"".join((PUBLISH, _short(exchange), _short(routing_key), b"\x01" if mandatory else b"\x00"))
        packed = self._pack(properties)
        yield b"".join((
            HEAD(1, channel, len(method)), method, END,
            CONTENT(2, channel, 12 + len(packed), 60, 0, len(body)), packed, END,
        ))  # fmt: skip
        for first in range(0, len(body), largest):
            part = body[first : first + largest]
            yield b"".join((HEAD(3, channel, len(part)), part, END))

    def _pack(self, properties: Mapping[str, Any]) -> bytes:
        flags, parts = 0, [b""]
        for name, bit in ORDER:
            value = properties.get(name)
            if value is None:
                continue
            flags |= bit
            if name == "application_headers":
                parts.append(self._table(value))
            elif name in OCTETS:
                parts.append(bytes((value,)))
            elif name == "timestamp":
                parts.append(dumps("T", (value,)))
            else:
                parts.append(_short(value))
        parts[0] = flags.to_bytes(2)
        return b"".join(parts)

    def _table(self, table: Mapping[str, Any]) -> bytes:
        names, parts = self._names, []
        for name, value in table.items():
            parts.append(names.get(name) or self._name(name))
            if value is None:
                parts.append(b"V")
            elif type(value) is str:
                text = value.encode("utf-8", "surrogatepass")
                parts += (b"S", U32(len(text)), text)
            else:
                parts.append(self._value(value))
        packed = b"".join(parts)
        return U32(len(packed)) + packed

    def _value(self, value: Any) -> bytes:
        """Return a value with its type, as py-amqp writes it."""
        kind = type(value)
        if value is None:
            return b"V"
        if kind is str:
            text: bytes = value.encode("utf-8", "surrogatepass")
            return b"S" + U32(len(text)) + text
        if kind is int and -(2**31) < value < 2**31:
            return I32(b"I", value)
        if kind is bool:
            return b"t\x01" if value else b"t\x00"
        if kind is dict:
            return b"F" + self._table(value)
        if kind is list:
            packed = b"".join([self._value(item) for item in value])
            return b"A" + U32(len(packed)) + packed
        # A table of one entry without its size and the entry's name, which has no letters: the value.
        other: bytes = dumps("F", ({"": value},))[5:]
        return other

    def _name(self, name: str) -> bytes:
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        self._names[name] = packed = _short(name)
        return packed


def _short(text: str) -> bytes:
    packed = text.encode("utf-8", "surrogatepass")
    return bytes((len(packed),)) + packed
