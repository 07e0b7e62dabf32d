"""Short texts of values, for logs and headers: whatever the value, bounded in size and in work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

__all__ = ["bounded_repr"]

SCALARS = frozenset({int, float, bool, type(None), str})
#: So many of them, with texts of so many characters, are not looked at one by one.
FEW, SHORT = 20, 100
BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


def bounded_repr(value: Any, limit: int = 1024, depth: int = 3) -> str:
    """Return `repr(value)`, cut to `limit` characters and to `depth` levels (wire reference 3.2: 1024 and 3)."""
    if depth > 0 and _is_simple(value):
        try:
            if len(text := repr(value)) <= limit:
                return text
        except ValueError:
            pass  # a number of thousands of digits
    pieces: list[str] = []
    size = 0
    for piece in _pieces(value, limit, depth):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            return "".join(pieces)[: limit - 3] + "..."
    return "".join(pieces)


def _is_simple(value: Any) -> bool:
    """Whether it holds a few scalars, as most arguments do: its `repr` is what the pieces of it would be."""
    if type(value) is dict:
        return len(value) <= FEW and _are_short(value) and _are_short(value.values())
    return type(value) in (tuple, list) and len(value) <= FEW and _are_short(value)


def _are_short(items: Iterable[Any]) -> bool:
    kinds = set(map(type, items))
    return kinds <= SCALARS and (str not in kinds or all(len(item) <= SHORT for item in items if type(item) is str))


def _pieces(value: Any, limit: int, depth: int) -> Iterator[str]:
    kind = type(value)
    if kind in BRACKETS or kind is dict:
        yield from _container(value, limit, depth)
    elif kind in (str, bytes):
        # The quotes of a cut text are closed again, so that what follows stays readable.
        yield repr(value) if len(value) <= limit else repr(value[:limit]) + "..."
    else:
        yield _safe_repr(value)


def _container(value: Any, limit: int, depth: int) -> Iterator[str]:
    brackets = BRACKETS.get(type(value), "{}")
    opening, closing = brackets[0], brackets[1]
    if depth <= 0 and value:
        yield f"{opening}...{closing}"
        return
    if not value:
        yield repr(value)
        return
    yield opening
    yield from _items(value, limit, depth)
    yield f",{closing}" if isinstance(value, tuple) and len(value) == 1 else closing


def _items(value: Any, limit: int, depth: int) -> Iterator[str]:
    entries: Iterable[Any] = value.items() if isinstance(value, dict) else value
    for index, entry in enumerate(islice(entries, limit)):
        if index:
            yield ", "
        if isinstance(value, dict):
            yield from _pieces(entry[0], limit, depth - 1)
            yield ": "
            entry = entry[1]
        yield from _pieces(entry, limit, depth - 1)


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as exc:  # a value's own bug must not stop its message
        return f"<{type(value).__name__}: its repr raised {type(exc).__name__}>"
