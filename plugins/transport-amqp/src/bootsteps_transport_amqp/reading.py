"""From the bytes that RabbitMQ sent to messages: deliveries at once, everything else left to py-amqp.

A delivery is three frames: the method, the header with the properties, the body. RabbitMQ sends them together, nearly
always with a body that fits into one frame: that case is read here.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from bootsteps_transport_amqp.delaying import WAITED, as_sent
from bootsteps_transport_amqp.message import Message
from bootsteps_transport_amqp.tables import Tables, Unusual

__all__ = ["FRAME", "Deliveries"]

#: Type, channel, size of what follows; after that one byte, END.
FRAME = Struct(">BHI").unpack_from
FRAME_OVERHEAD = 8
END = 0xCE
METHOD, HEADER, BODY = 1, 2, 3
#: basic.deliver: class 60, method 60.
DELIVER = b"\x00\x3c\x00\x3c"
#: A header's frame, class, weight, the body's length, which properties there are.
HEAD = Struct(">BHIHHQH").unpack_from
HEAD_SIZE = 21
TAG = Struct(">QB").unpack_from
U32 = Struct(">I").unpack_from
#: What comes first in the properties of most messages.
USUAL = b"\x10application/json\x05utf-8"
#: The properties in their order: bit, name. Texts but for the headers (a table), two octets and the timestamp.
CONTENT_TYPE, ENCODING, HEADERS, MODE, PRIORITY, TIMESTAMP = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0040
BEFORE = ((CONTENT_TYPE, "content_type"), (ENCODING, "content_encoding"))
BETWEEN = ((0x0400, "correlation_id"), (0x0200, "reply_to"), (0x0100, "expiration"), (0x0080, "message_id"))
AFTER = ((0x0020, "type"), (0x0010, "user_id"), (0x0008, "app_id"), (0x0004, "cluster_id"))
#: What Celery's messages have, and ours: the first five of them, `correlation_id` and `reply_to`.
CELERYS = 0xFE00
#: The last bit says that there are more than we know.
UNKNOWN = 0x0003
#: Exchanges and routing keys that are remembered.
MOST_ROUTES = 1000


class Deliveries:
    """Reads deliveries. One for each connection."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._routes: dict[bytes, tuple[str, str]] = {}

    def read(self, channels: Any, buf: bytes, pos: int, largest: int) -> tuple[Any, Message, int] | int:
        """Read a delivery at `pos`, where its method's frame is complete: (callback, message, where it ends).

        0: py-amqp is to read this frame; -1: not all of it is there yet. `largest` is that of a body's frame.
        """
        _, number, size = FRAME(buf, pos)
        head = pos + size + FRAME_OVERHEAD
        if head + HEAD_SIZE > len(buf):
            return -1
        kind, number2, size2, _, _, length, flags = HEAD(buf, head)
        if kind != HEADER or number2 != number or length > largest or flags & UNKNOWN:
            return 0
        body = head + size2 + FRAME_OVERHEAD
        end = body + length + FRAME_OVERHEAD if length else body
        if end > len(buf):
            return -1
        if buf[head - 1] != END or buf[body - 1] != END or buf[end - 1] != END:
            return 0
        if length and FRAME(buf, body) != (BODY, number, length):
            return 0
        channel = channels.get(number)
        consumer_end = pos + 12 + buf[pos + 11]
        consumer = buf[pos + 12 : consumer_end].decode()
        callback = channel.callbacks.get(consumer) if channel is not None and not channel.is_closing else None
        if callback is None:
            return 0
        try:
            properties, headers = self._properties(buf, head + HEAD_SIZE, body - 1, flags)
        except (Unusual, UnicodeDecodeError):
            return 0
        if "compression" in headers:
            return 0
        tag, redelivered = TAG(buf, consumer_end)
        exchange, key = self._route(buf[consumer_end + 9 : head - 1])
        if exchange.startswith(WAITED):  # it has waited: as it was before
            exchange, key, headers = "", channel.queue_of(consumer), as_sent(headers)
        info = {
            "consumer_tag": consumer, "delivery_tag": tag, "redelivered": bool(redelivered & 1),
            "exchange": exchange, "routing_key": key,
        }  # fmt: skip
        channel.delivered(tag, consumer)
        content = buf[body + 7 : end - 1] if length else b""
        return callback, Message(content, channel, tag, info, properties, headers), end

    def _route(self, packed: bytes) -> tuple[str, str]:
        found = self._routes.get(packed)
        if found is None:
            middle = 1 + packed[0]
            found = packed[1:middle].decode(), packed[middle + 1 : middle + 1 + packed[middle]].decode()
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[packed] = found
        return found

    def _properties(self, buf: bytes, pos: int, end: int, flags: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the properties, but for the headers; and those."""
        found: dict[str, Any]
        if flags & 0xC000 == 0xC000 and buf.startswith(USUAL, pos):
            found = {"content_type": "application/json", "content_encoding": "utf-8"}
            pos += len(USUAL)
        else:
            found = {}
            pos = _texts(BEFORE, buf, pos, flags, found)
        headers: dict[str, Any] = {}
        if flags & HEADERS:
            pos += 4
            after = pos + U32(buf, pos - 4)[0]
            if after > end:
                raise Unusual
            headers, pos = self._tables.read(buf, pos, after), after
        if flags == CELERYS:
            found["delivery_mode"], found["priority"] = buf[pos], buf[pos + 1]
            middle = pos + 3 + buf[pos + 2]
            found["correlation_id"] = buf[pos + 3 : middle].decode()
            pos = middle + 1 + buf[middle]
            found["reply_to"] = buf[middle + 1 : pos].decode()
        else:
            pos = _others(buf, pos, flags, found)
        if pos != end:
            raise Unusual
        return found, headers


def _others(buf: bytes, pos: int, flags: int, found: dict[str, Any]) -> int:
    """Read the properties after the headers; return where they end."""
    if flags & MODE:
        found["delivery_mode"] = buf[pos]
        pos += 1
    if flags & PRIORITY:
        found["priority"] = buf[pos]
        pos += 1
    if flags & 0x07FC:
        pos = _texts(BETWEEN, buf, pos, flags, found)
        if flags & TIMESTAMP:
            found["timestamp"] = int.from_bytes(buf[pos : pos + 8])
            pos += 8
        if flags & 0x003C:
            pos = _texts(AFTER, buf, pos, flags, found)
    return pos


def _texts(names: Any, buf: bytes, pos: int, flags: int, found: dict[str, Any]) -> int:
    for bit, name in names:
        if flags & bit:
            end = pos + 1 + buf[pos]
            found[name] = buf[pos + 1 : end].decode()
            pos = end
    return pos
