"""Messages as they came, to be published once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["fetch", "give_back", "publish", "ready_to_send", "task_of"]

#: What a copy keeps of the properties; the rest belongs to one delivery or one transport.
KEPT = (
    "correlation_id", "reply_to", "delivery_mode", "expiration", "message_id", "timestamp", "type", "app_id", "user_id",
)  # fmt: skip
#: Headers that transports add to a delivery.
DROPPED = frozenset({"redelivered", "x-delivery-count"})


def fetch(channel: Any, queue: str) -> Any:
    """Return the first message of a queue, None if there is none."""
    found = channel.basic_get(queue=queue)
    convert = getattr(channel, "message_to_python", None)  # only where the channel does not do it itself
    return found if found is None or convert is None else convert(found)


def give_back(channel: Any, tags: Sequence[Any]) -> None:
    """Put deliveries back at their old places, as if they had never been fetched where the broker can do that."""
    many = getattr(channel, "give_back", None)
    if many is not None:
        many(list(tags), counted=False)
        return
    for tag in reversed(tags):
        channel.basic_reject(tag, requeue=True)


def ready_to_send(message: Any, channel: Any) -> Any:
    """Return a message of that channel's transport: the same body, headers and properties."""
    known, headers = message.properties or {}, message.headers or {}
    return channel.prepare_message(
        _as_sent(message),
        known.get("priority"),
        message.content_type,
        message.content_encoding,
        {name: value for name, value in headers.items() if name not in DROPPED},
        {name: known[name] for name in KEPT if known.get(name) is not None},
    )


def publish(channel: Any, copies: list[tuple[Any, str]]) -> None:
    """Publish (message, queue) each; when it returns, the broker has them (RabbitMQ has confirmed them)."""
    many = getattr(channel, "publish_many", None)
    if many is not None:
        many([(copy, "", queue) for copy, queue in copies])
        return
    for copy, queue in copies:
        channel.basic_publish(copy, exchange="", routing_key=queue)


def task_of(message: Any) -> str | None:
    """Return the name of the task, from the headers or (protocol 1) from the body."""
    name = (message.headers or {}).get("task")
    if name is None:
        try:
            body = message.payload
        except Exception:  # a body that cannot be read here has no name here
            return None
        name = body.get("task") if isinstance(body, dict) else None
    return str(name) if name is not None else None


def _as_sent(message: Any) -> Any:
    """Return the body as it travels: kombu decompresses it as it makes a message."""
    compression = (message.headers or {}).get("compression")
    if not compression or message.errors:
        return message.body
    from kombu.compression import compress

    return compress(message.body, compression)[0]
