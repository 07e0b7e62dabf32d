"""Tables of headers: read by what was learned from others of the same shape, and written.

A table is a sequence of name, type and value. Those of one kind of task differ in a few texts (id, arguments, origin)
and are else the same bytes. So the first one of a shape is read value by value, and from then on the bytes between the
texts are compared as a whole.
"""

from __future__ import annotations

from datetime import UTC, datetime
from struct import Struct
from struct import error as StructError
from typing import Any

__all__ = ["Tables", "Unusual"]

U32 = Struct(">I").unpack_from
U64 = Struct(">Q").unpack_from
#: Values of fixed length by their type. The letters are RabbitMQ's, as py-amqp reads them.
FIXED = {
    letter: Struct(code)
    for letter, code in zip(
        b"tbBUusIiLlfd", (">?", ">b", ">B", ">h", ">H", ">h", ">i", ">I", ">q", ">q", ">f", ">d"), strict=True
    )
}
TEXT, VOID, TABLE, ARRAY, MOMENT = b"SVFAT"
#: Shapes that are remembered; of one kind of task.
MOST_KINDS, MOST_SHAPES = 500, 4
#: By what follows the name of a task in Celery's headers (and ours), tables of different tasks are told apart.
AFTER_KIND = b"\x02idS"
#: So many bytes are searched for it.
KIND_WITHIN = 320


class Unusual(Exception):
    """Something that is left to py-amqp to read."""


class Shape:
    """What is the same in tables that differ in their texts only."""

    __slots__ = ("_base", "_copied", "_last", "_names", "_steps")

    def __init__(self, steps: list[bytes], last: bytes, names: list[str], base: dict[str, Any]) -> None:
        self._steps = [(step, len(step)) for step in steps]
        self._last = last
        self._names = names
        self._base = base
        #: Each message gets lists and tables of its own.
        self._copied = [(name, type(value)) for name, value in base.items() if isinstance(value, (list, dict))]

    def read(self, buf: bytes, pos: int, end: int) -> dict[str, Any] | None:
        """Return the table, None if it is of another shape. Raises UnicodeDecodeError."""
        texts = []
        for step, length in self._steps:
            if not buf.startswith(step, pos):
                return None
            pos += length + 4
            (size,) = U32(buf, pos - 4)
            texts.append(buf[pos : pos + size].decode())
            pos += size
        if end - pos != len(self._last) or not buf.startswith(self._last, pos):
            return None
        found = self._base.copy()
        found.update(zip(self._names, texts, strict=True))
        for name, kind in self._copied:
            found[name] = kind(found[name])
        return found


class Tables:
    """Reads tables. One for each connection."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, list[Shape]] = {}

    def read(self, buf: bytes, pos: int, end: int) -> dict[str, Any]:
        """Return the table in these bytes. Raises `Unusual`."""
        kind_end = buf.find(AFTER_KIND, pos, min(pos + KIND_WITHIN, end))
        kind = buf[pos:kind_end] if kind_end >= 0 else b""
        try:
            shapes = self._kinds.get(kind, ())
            for shape in shapes:
                found = shape.read(buf, pos, end)
                if found is not None:
                    return found
            return self._learn(kind, buf, pos, end)
        except (UnicodeDecodeError, StructError, IndexError) as exc:
            raise Unusual from exc

    def _learn(self, kind: bytes, buf: bytes, pos: int, end: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        steps, names, since = [], [], pos
        while pos < end:
            name_end = pos + 1 + buf[pos]
            name, letter = buf[pos + 1 : name_end].decode(), buf[name_end]
            found[name], after = _item(letter, buf, name_end + 1, end)
            if letter == TEXT:
                steps.append(buf[since : name_end + 1])
                names.append(name)
                since = after
            pos = after
        if pos != end:
            raise Unusual
        if all(_is_flat(value) for value in found.values()):
            self._remember(kind, Shape(steps, buf[since:end], names, found))
        return found

    def _remember(self, kind: bytes, shape: Shape) -> None:
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = [shape, *self._kinds.get(kind, ())[: MOST_SHAPES - 1]]


def _is_flat(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not any(isinstance(part, (list, dict)) for part in inner)


def _item(letter: int, buf: bytes, pos: int, end: int) -> tuple[Any, int]:
    """Return a value of a type, and where it ends."""
    if letter == VOID:
        return None, pos
    if letter in FIXED:
        form = FIXED[letter]
        return form.unpack_from(buf, pos)[0], pos + form.size
    if letter == MOMENT:
        moment = datetime.fromtimestamp(U64(buf, pos)[0], tz=UTC)
        return moment.replace(tzinfo=None), pos + 8  # as py-amqp has it
    if letter not in (TEXT, TABLE, ARRAY):
        raise Unusual
    pos += 4
    after = pos + U32(buf, pos - 4)[0]
    if after > end:
        raise Unusual
    if letter == TEXT:
        return buf[pos:after].decode(), after
    return (_table if letter == TABLE else _array)(buf, pos, after), after


def _table(buf: bytes, pos: int, end: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while pos < end:
        name_end = pos + 1 + buf[pos]
        name = buf[pos + 1 : name_end].decode()
        found[name], pos = _item(buf[name_end], buf, name_end + 1, end)
    return found


def _array(buf: bytes, pos: int, end: int) -> list[Any]:
    found: list[Any] = []
    while pos < end:
        value, pos = _item(buf[pos], buf, pos + 1, end)
        found.append(value)
    return found
