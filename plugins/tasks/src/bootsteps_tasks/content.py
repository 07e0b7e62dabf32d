"""Which content types are decoded."""

from __future__ import annotations

from functools import cache

__all__ = ["content_types"]


@cache
def content_types(accept: frozenset[str]) -> frozenset[str]:
    """Return the content types of serializer names like `json`; content types stay as they are.

    Raises kombu's `SerializerNotInstalled` for a name that is none.
    """
    from kombu.serialization import prepare_accept_content

    return frozenset(prepare_accept_content(set(accept)))
