"""What travels to a pool child: a message as it came, its body untouched."""

from __future__ import annotations

import json
import marshal
import pickle
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Any, NamedTuple

from bootsteps_tasks.message import parse_headers, parse_plain
from bootsteps_tasks.request import Context

__all__ = ["Envelope", "Plain", "pack", "unpack"]

#: Body, content type, content encoding, compression.
Content = tuple[bytes, str, str, str | None]
#: How a pickle begins. What JSON can hold is marshalled, in half the time, and marshal never begins so.
PICKLED = b"\x80"
#: How kombu's JSON of a body ends whose third part says nothing; an empty one may be shorter.
ALONE = (
    b'{"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
    b"}, {}]",
    b"}, null]",
)


@dataclass(slots=True)
class Envelope:
    """The parts of a message that a child needs to run its task. Not to be changed."""

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    delivery_info: dict[str, Any]
    hostname: str
    #: The state and the error that the parent decided on: the task is not run, what depends on it gets to know.
    verdict: tuple[str, Exception] | None = None

    @classmethod
    def of(cls, message: Any, hostname: str, verdict: tuple[str, Exception] | None = None) -> Envelope:
        """Return the envelope of a kombu message, which is decompressed already: kombu does that as it makes it."""
        body, headers = message.body, message.headers or {}
        if "compression" in headers and not message.errors:
            headers = {name: value for name, value in headers.items() if name != "compression"}
        return cls(
            body.encode() if isinstance(body, str) else bytes(body),
            message.content_type,
            message.content_encoding,
            headers,
            message.properties or {},
            message.delivery_info or {},
            hostname,
            verdict,
        )

    @property
    def stands_alone(self) -> bool:
        """Nothing depends on the task: no callback, no chain, no chord. Told by the body's last bytes, undecoded."""
        return self.content_type == "application/json" and self.body.endswith(ALONE)

    def pack(self) -> bytes:
        """Return it as bytes for a child of this worker (never for anybody else: it may be a pickle)."""
        parts = (self.body, self.content_type, self.content_encoding, self.headers, self.properties)
        return _pack((*parts, self.delivery_info, self.hostname, self.verdict))

    def context(self) -> Context:
        """Return the task's context, without arguments yet. Raises `InvalidMessage`."""
        found = parse_headers(self.headers, self.properties, self.delivery_info)
        where = self.delivery_info, self.hostname, self.headers
        return Context.of(found, (), {}, *where, {}, self.properties)

    def content(self) -> Content:
        """Return the body and how to decode it."""
        return self.body, self.content_type, self.content_encoding, self.headers.get("compression")


class Plain(NamedTuple):
    """The same of a message of which the transport decoded nothing: the child does."""

    #: base64
    body: str
    content_type: str
    content_encoding: str
    #: JSON, both.
    headers: str
    properties: str
    delivery_info: dict[str, Any]
    hostname: str
    verdict: None = None

    def context(self) -> Context:
        """Return the task's context, without arguments yet. Raises `InvalidMessage`."""
        _, _, _, headers, properties, info, hostname, _ = self
        found = parse_plain(headers, properties)
        if found is not None:
            return Context.of_plain(found, info, hostname, headers, properties)
        told = json.loads(headers), json.loads(properties)
        return Envelope(b"", self.content_type, self.content_encoding, *told, info, hostname).context()

    def content(self) -> Content:
        """Return the body and how to decode it."""
        return a2b_base64(self.body), self.content_type, self.content_encoding, None


def unpack(packed: bytes) -> Envelope | Plain:
    """Return what `pack` packed."""
    if packed[:1] == PICKLED:
        return Envelope(*pickle.loads(packed))
    parts = marshal.loads(packed)
    return Plain(*parts) if type(parts[3]) is str else Envelope(*parts)


def pack(message: Any, hostname: str) -> bytes:
    """Return `Envelope.of(message, hostname).pack()`, which most messages need not be made into."""
    undecoded = getattr(message, "undecoded", None)
    if undecoded is not None:
        told = message.content_type, message.content_encoding, *undecoded[1:]
        return marshal.dumps((undecoded[0], *told, message.delivery_info, hostname, None), 2)
    headers = message.headers
    if type(message.body) is not bytes or not headers or "compression" in headers:
        return Envelope.of(message, hostname).pack()
    content = message.body, message.content_type, message.content_encoding
    return _pack((*content, headers, message.properties or {}, message.delivery_info or {}, hostname, None))


def _pack(parts: tuple[Any, ...]) -> bytes:
    try:
        return marshal.dumps(parts, 2)  # later versions look for objects that occur twice, in vain
    except ValueError:  # dates among the headers, or a verdict
        return pickle.dumps(parts, protocol=5)
