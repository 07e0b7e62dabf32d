"""Which content types are decoded, and JSON as kombu decodes it, by one decoder for all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeGuard

__all__ = ["content_types", "is_plain_json", "plain_json"]

_decode = json.JSONDecoder().raw_decode


@cache
def content_types(accept: frozenset[str]) -> frozenset[str]:
    """Return the content types of serializer names like `json`; content types stay as they are.

    Raises kombu's `SerializerNotInstalled` for a name that is none.
    """
    from kombu.serialization import prepare_accept_content

    return frozenset(prepare_accept_content(set(accept)))


def is_plain_json(body: Any, encoding: str) -> TypeGuard[bytes]:
    """Whether kombu would do no more than decode JSON: it replaces the objects that say their `__type__`."""
    if type(body) is not bytes or not body or encoding not in ("utf-8", "UTF-8") or b"__type__" in body:
        return False
    decoders, kombus = _json_decoders()
    return decoders.get("application/json") is kombus  # nobody has registered another


def plain_json(text: str) -> Any:
    """Return what JSON holds. Raises ValueError."""
    value, end = _decode(text)
    return value if end == len(text) else json.loads(text)  # which allows for spaces behind it


@cache
def _json_decoders() -> tuple[Mapping[str, Any], Any]:
    """Return kombu's decoders by content type, as they are at any time, and its own one for JSON."""
    from kombu.serialization import registry
    from kombu.utils.json import loads

    return registry._decoders, loads
