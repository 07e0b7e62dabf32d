"""Publishes copies of messages that the worker has: once more to their queue, or into quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["Poster", "origin_of", "queue_of"]

T = TypeVar("T")

#: What a copy keeps of the properties; the rest belongs to one delivery or one transport.
KEPT = ("correlation_id", "reply_to", "delivery_mode", "expiration", "message_id", "timestamp", "type", "app_id")
#: Headers that transports add to a delivery.
DROPPED = frozenset({"redelivered", "x-delivery-count"})
#: How all headers of ours begin.
OURS = "x-bootsteps-"
#: Seconds to wait for the broker's confirmation.
CONFIRM_S = 5.0


class Poster:
    """Publishes on a connection of its own, made when first needed. Blocks, in seconds at most; loop thread only.

    The connection is not that of the tasks: RabbitMQ's confirmations are waited for, and meanwhile that one would
    deliver.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None
        self._channel: Any = None

    def repost(self, message: Any, queue: str, note: Mapping[str, Any]) -> None:
        """Publish a copy to a queue, its body as it came, with further headers. Raises what the transport raises."""
        self._twice(lambda: self._publish(message, queue, note))

    def repost_many(self, copies: Sequence[tuple[Any, str, Mapping[str, Any]]]) -> Mapping[int, object]:
        """The same for many (message, queue, headers), together where the transport can do that.

        Returns which of them the broker refused, by their places, and why.
        """

        def publish() -> Mapping[int, object]:
            channel = self._open()
            many = getattr(channel, "publish_many", None)
            if many is None:
                for copy in copies:
                    self._publish(*copy)
                return {}
            try:
                many([(self._copy(message, note), "", queue) for message, queue, note in copies])
            except Exception as exc:
                refused: Mapping[int, object] | None = getattr(exc, "refused", None)  # the others were taken
                if refused is None:
                    raise
                return refused
            return {}

        return self._twice(publish)

    def park(self, message: Any, queue: str, note: Mapping[str, Any]) -> None:
        """Publish a copy to a durable queue that is made if it is not there; it never expires in it."""

        def publish() -> None:
            self._declare(queue)
            self._publish(message, queue, note, keep_expiration=False)

        self._twice(publish)

    def release(self, message: Any, queue: str) -> None:
        """Publish a copy to a queue as if nothing had happened: without the counts and notes of ours."""
        self._twice(lambda: self._publish(message, queue, {}, drop=OURS))

    def close(self) -> None:
        """Close the connection; the next copy opens another."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it may be broken
                connection.collect()

    def _twice(self, publish: Callable[[], T]) -> T:
        """Try again once: the connection may have been idle for days, and closed by the broker."""
        try:
            return publish()
        except Exception:
            self.close()
            return publish()

    def _open(self) -> Any:
        if self._channel is None:
            self._connection = self._connect()
            if self._connection.transport.driver_type == "amqp":
                self._connection.transport_options["confirm_publish"] = True
            self._channel = self._connection.channel()
        return self._channel

    def _declare(self, queue: str) -> None:
        from kombu import Exchange, Queue

        Queue(queue, Exchange(""), routing_key=queue, durable=True)(self._open()).queue_declare()

    def _publish(
        self, message: Any, queue: str, note: Mapping[str, Any], keep_expiration: bool = True, drop: str = "\0"
    ) -> None:
        copy = self._copy(message, note, keep_expiration, drop)
        confirm = {"confirm_timeout": CONFIRM_S} if self._connection.transport.driver_type == "amqp" else {}
        self._channel.basic_publish(copy, exchange="", routing_key=queue, **confirm)

    def _copy(self, message: Any, note: Mapping[str, Any], keep_expiration: bool = True, drop: str = "\0") -> Any:
        found = message.headers or {}
        headers = {name: found[name] for name in found if name not in DROPPED and not name.startswith(drop)}
        known = message.properties or {}
        kept = {name: known[name] for name in KEPT if known.get(name) is not None}
        if not keep_expiration:
            kept.pop("expiration", None)
        return self._open().prepare_message(
            _as_sent(message),
            known.get("priority"),
            message.content_type,
            message.content_encoding,
            {**headers, **note},
            kept,
        )


def _as_sent(message: Any) -> Any:
    """Return the body as it travels: kombu decompresses it as it makes a message."""
    compression = (message.headers or {}).get("compression")
    if not compression or message.errors:
        return message.body
    from kombu.compression import compress

    return compress(message.body, compression)[0]


def origin_of(message: Any) -> tuple[str, str]:
    """Return the exchange and the routing key by which a message came."""
    info = message.delivery_info or {}
    return str(info.get("exchange") or ""), str(info.get("routing_key") or "")


def queue_of(message: Any, queues: Iterable[Any]) -> str:
    """Return the name of the queue that a message came from, of those (kombu's) that are consumed."""
    exchange, key = origin_of(message)
    if not exchange and any(queue.name == key for queue in queues):
        return key
    for queue in queues:
        if queue.exchange.name == exchange and queue.routing_key == key:
            return str(queue.name)
    of_exchange = [queue for queue in queues if exchange and queue.exchange.name == exchange]
    found = of_exchange or list(queues)
    return str(found[0].name) if found else key
