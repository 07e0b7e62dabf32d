"""The settings of events, under Celery's names."""

from __future__ import annotations

from typing import Any

from bootsteps import Setting

__all__ = ["EXCHANGE", "QUEUE_DURABLE", "QUEUE_EXCLUSIVE", "QUEUE_EXPIRES", "QUEUE_PREFIX", "QUEUE_TTL"]
__all__ += ["SEND_TASK_EVENTS", "SERIALIZER", "SETTINGS"]

EXCHANGE = Setting[str]("event_exchange", str, "celeryev", flags=(), help="the exchange that events go to")
SERIALIZER = Setting[str]("event_serializer", str, "json", flags=(), help="how events are serialized")
QUEUE_PREFIX = Setting[str]("event_queue_prefix", str, "celeryev", flags=(), help="how a monitor's queue is called")
QUEUE_TTL = Setting[float | None](
    "event_queue_ttl", float, 5.0, unit="s", flags=(), help="how long an event waits for its monitor"
)
QUEUE_EXPIRES = Setting[float | None](
    "event_queue_expires", float, 60.0, unit="s", flags=(), help="how long an unused queue of a monitor is kept"
)
QUEUE_EXCLUSIVE = Setting[bool](
    "event_queue_exclusive", bool, True, flags=(), help="a monitor's queue belongs to its connection"
)
QUEUE_DURABLE = Setting[bool](
    "event_queue_durable", bool, False, flags=(), help="a monitor's queue survives a restart of the broker"
)
SEND_TASK_EVENTS = Setting[bool](
    "worker_send_task_events",
    bool,
    False,
    flags=("-E", "--task-events", "--events"),
    help="send events of tasks from the start",
)
SETTINGS: tuple[Setting[Any], ...] = (
    *(EXCHANGE, SERIALIZER, QUEUE_PREFIX, QUEUE_TTL, QUEUE_EXPIRES, QUEUE_EXCLUSIVE, QUEUE_DURABLE, SEND_TASK_EVENTS),
)
