"""From a meta object to a row and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bootsteps_tasks.backend import decode, encode, encode_result

__all__ = ["from_row", "stamp", "to_row"]

#: Columns whose values are serialized; `result` and `stamps` go their own ways.
SERIALIZED = frozenset({"children", "args", "kwargs"})


def stamp(moment: datetime) -> str:
    """Return naive UTC as SQLAlchemy writes it into SQLite: always with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def to_row(meta: Mapping[str, Any], columns: Sequence[str], serializer: str) -> tuple[Any, ...]:
    """Return the values of the columns."""
    meta, result = encode_result(meta, serializer)
    return tuple(result if column == "result" else _cell(meta, column, serializer) for column in columns)


def _cell(meta: Mapping[str, Any], column: str, serializer: str) -> Any:
    if column == "stamps":
        return _stamps(meta, serializer)
    value = meta.get(column)
    if column == "date_done":
        return None if value is None else stamp(_aware(value))
    if column in SERIALIZED and value is not None:
        return encode(value, serializer) if value or column != "children" else None
    return value


def _stamps(meta: Mapping[str, Any], serializer: str) -> bytes | None:
    names = meta.get("stamped_headers")
    if not names:
        return None
    return encode({"stamped_headers": names, "stamps": {name: meta.get(name) for name in names}}, serializer)


def _aware(value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def from_row(row: Sequence[Any], columns: Sequence[str], serializer: str, accept: Collection[str]) -> dict[str, Any]:
    """Return the meta object. Raises kombu's `ContentDisallowed` or `DecodeError`."""
    found = dict(zip(columns, row, strict=True))
    for column in SERIALIZED & found.keys() | {"result"}:
        found[column] = _decode(found[column], serializer, accept)
    if found["date_done"] is not None:
        found["date_done"] = _aware(found["date_done"]).isoformat()
    found["children"] = found["children"] or []
    stamps = _decode(found.pop("stamps", None), serializer, accept)
    return {**found, **({"stamped_headers": stamps["stamped_headers"], **stamps["stamps"]} if stamps else {})}


def _decode(payload: bytes | None, serializer: str, accept: Collection[str]) -> Any:
    if payload is None:
        return None
    # Celery before 5.7 wrote pickles whatever the serializer; 0x80 begins no JSON text.
    old = payload[:1] == b"\x80" and serializer == "json"
    return decode(payload, "pickle" if old else serializer, accept)
