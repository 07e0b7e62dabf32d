# mypy: disable-error-code="no-untyped-call,override"
"""Messages as nearly all are: taken apart by one look, their parts decoded only for who asks for them.

`json` takes 10 µs for the dozen headers of each message in a worker that hands on hundreds of them, half of that for
making and collecting the objects; the look takes 2.
"""

from __future__ import annotations

import json
import re
import sys
from binascii import a2b_base64
from functools import cached_property
from typing import Any

from bootsteps_transport_redis import codec

__all__ = ["Parts", "PlainMessage", "look"]

Parts = re.Match[str]

#: An envelope as kombu writes it around a task, no string of which is escaped (`look` sees to that): a quote ends it.
SHAPE = re.compile(
    r'\{"body": "([A-Za-z0-9+/]*={0,2})", "content-encoding": "([^"]*)", "content-type": "([^"]*)", '
    r'"headers": (\{.*\}), '
    r'"properties": (\{"correlation_id": "[^"]*", "reply_to": "[^"]*", "delivery_mode": [12], '
    r'"delivery_info": \{"exchange": "([^"]*)", "routing_key": "([^"]*)"\}, '
    r'"priority": [0-9]+, "body_encoding": "base64", "delivery_tag": "[^"]*"\})\}'
)


def look(raw: bytes) -> Parts | None:
    """Return the parts of an envelope; None for one that has to be decoded to know them.

    That is one with another shape, and one with headers that mean something to us or to kombu. The body of all others
    is base64 that can be decoded; of their headers nothing is known.
    """
    parts = None if b"\\" in raw else SHAPE.fullmatch(raw.decode())
    if parts is None:
        return None
    headers = parts[4]
    special = len(parts[1]) % 4 or '"redelivered"' in headers or '"compression"' in headers or '"__type__"' in headers
    return None if special else parts


class PlainMessage(codec.Message):
    """A message whose parts are decoded when they are asked for. Headers that cannot be are empty, see `errors`."""

    errors: Any = None
    accept: Any = None
    _decoded_cache: Any = None
    _state: Any = "RECEIVED"

    def __init__(self, parts: Parts, channel: Any, tag: str, consumer_tag: str | None) -> None:
        text, self.content_encoding, self.content_type, headers, properties, exchange, routing_key = parts.groups()
        self.channel = channel
        self.delivery_tag = tag
        #: Body, headers and properties as they came: base64 and JSON, for who hands them on as they are.
        self.undecoded = text, headers, properties
        info = {"exchange": exchange, "routing_key": routing_key, "delivery_count": 0}
        if consumer_tag is not None:
            info["consumer_tag"] = consumer_tag
        self.delivery_info = info

    @cached_property
    def body(self) -> Any:
        return a2b_base64(self.undecoded[0])

    @cached_property
    def headers(self) -> Any:
        try:
            return json.loads(self.undecoded[1])
        except (ValueError, RecursionError):
            self.errors = [sys.exc_info()]  # as kombu keeps them
            return {}

    @cached_property
    def properties(self) -> Any:
        return json.loads(self.undecoded[2])
