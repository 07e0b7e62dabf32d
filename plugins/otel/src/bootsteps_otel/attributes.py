"""The attributes of a span, named as opentelemetry-instrumentation-celery names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["of_message", "of_run"]

MESSAGE_ID, DESTINATION = "messaging.message.id", "messaging.destination"
#: What a request tells, by the attribute that it becomes.
TOLD = {
    "correlation_id": "messaging.conversation_id",
    "eta": "celery.eta",
    "expires": "celery.expires",
    "hostname": "celery.hostname",
    "reply_to": "celery.reply_to",
    "retries": "celery.retries",
    "origin": "celery.hostname",
}


def of_message(name: str, task_id: str, exchange: str, routing_key: str) -> dict[str, Any]:
    """Return those of a message that is published."""
    found = {
        "celery.action": "apply_async",
        "celery.task_name": name,
        MESSAGE_ID: task_id,
        "celery.exchange": exchange,
        DESTINATION: routing_key,
    }
    return {key: value for key, value in found.items() if value}


def of_run(name: str, request: Any, state: str | None) -> dict[str, Any]:
    """Return those of a run that has ended; `request` is the task's."""
    found = {"celery.action": "run", "celery.task_name": name, MESSAGE_ID: request.id, "celery.state": state}
    found |= dict(_told(request))
    info: Mapping[str, Any] = request.delivery_info or {}
    if info:
        found["celery.delivery_info"] = str(dict(info))
        found[DESTINATION] = info.get("routing_key")
    limits = tuple(request.timelimit or ())
    if any(limit is not None for limit in limits):
        found["celery.timelimit"] = ["" if limit is None else str(limit) for limit in limits]
    return {key: value for key, value in found.items() if value}


def _told(request: Any) -> Iterator[tuple[str, Any]]:
    for key, attribute in TOLD.items():
        value = getattr(request, key, None)
        if value:
            yield attribute, value
