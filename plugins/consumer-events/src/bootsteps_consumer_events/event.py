"""One event, and where it goes (wire reference 13)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

__all__ = ["Event", "exchange_for", "group_from", "routing_key_of", "utcoffset"]


def Event(type: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return an event with these fields and the present time, unless they hold a `timestamp`."""
    event = {**_fields, **fields} if _fields else fields
    event.setdefault("timestamp", time.time())
    event["type"] = type
    return event


def group_from(type: str) -> str:
    """Return the group of a type of event: `task` of `task-sent`."""
    return type.partition("-")[0]


def routing_key_of(type: str) -> str:
    """Return the routing key of single events of this type."""
    return type.replace("-", ".")


def utcoffset() -> float:
    """Return how many hours this machine's clock is behind UTC, as Celery counts it."""
    return (time.altzone if time.localtime().tm_isdst else time.timezone) / 3600


def exchange_for(connection: Any, name: str) -> Any:
    """Return the `kombu.Exchange` of events; Celery's is a fanout on Redis, where a topic would need a queue."""
    from kombu import Exchange

    fanout = connection.transport.driver_type in ("redis", "gcpubsub")
    return Exchange(name, type="fanout" if fanout else "topic")
