"""Redis's protocol: RESP2, and of RESP3 what a greeting is answered with. See https://redis.io/docs/reference/protocol-spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bootsteps_redis_wire.errors import ConnectionLost, refusal

__all__ = ["Command", "Reader", "pack"]

#: A command and its arguments: texts, bytes and numbers.
Command = Sequence[Any]
#: Bytes that are read at once.
CHUNK = 1 << 16
#: And of a long answer whose length is known.
LARGEST_CHUNK = 1 << 20


def pack(commands: Iterable[Command]) -> bytes:
    """Return commands as they are sent. Raises TypeError for an argument that is neither text, bytes nor number."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            text = word if type(word) is bytes else _encoded(word)
            parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


def _encoded(word: Any) -> bytes:
    if isinstance(word, str):
        return word.encode()
    if isinstance(word, bytes | bytearray | memoryview):
        return bytes(word)
    if isinstance(word, int | float) and not isinstance(word, bool):
        return repr(word).encode()
    raise TypeError(f"Redis takes text, bytes and numbers, not {word!r}")


class Reader:
    """Reads answers from what `receive(n)` returns: some bytes, n at most, none when there will be no more."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._data = b""
        self._at = 0

    @property
    def buffered(self) -> bool:
        """There is something that was received and not read yet."""
        return self._at < len(self._data)

    def read(self) -> Any:
        """Return the next answer; an error is returned, too, also one that is a part of an answer.

        Raises `ConnectionLost` for what is no answer, and what `receive` raises.
        """
        line = self._line()
        kind, rest = line[:1], line[1:]
        try:
            if kind == b"$":
                return self._bulk(int(rest))
            if kind == b"*":
                size = int(rest)
                return None if size < 0 else [self.read() for _ in range(size)]
            if kind == b":":
                return int(rest)
            if kind == b"%":
                return {self.read(): self.read() for _ in range(int(rest))}
        except ValueError:
            kind = b""
        if kind == b"+":
            return rest
        if kind == b"-":
            return refusal(rest.decode(errors="replace"))
        raise ConnectionLost(f"the server answered {line[:80]!r}: is it a Redis?")

    def _bulk(self, size: int) -> bytes | None:
        if size < 0:
            return None
        self._fill(size + 2)
        start = self._at
        self._at += size + 2
        return self._data[start : start + size]

    def _line(self) -> bytes:
        while (end := self._data.find(b"\r\n", self._at)) < 0:
            self._fill(len(self._data) - self._at + 1)
        start, self._at = self._at, end + 2
        return self._data[start:end]

    def _fill(self, size: int) -> None:
        """Have so many bytes that are not read yet."""
        missing = size - (len(self._data) - self._at)
        if missing <= 0:
            return
        parts = [self._data[self._at :]]
        while missing > 0:
            part = self._receive(min(max(missing, CHUNK), LARGEST_CHUNK))
            if not part:
                raise ConnectionLost("the server closed the connection")
            parts.append(part)
            missing -= len(part)
        self._data, self._at = b"".join(parts), 0
