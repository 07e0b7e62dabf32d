"""What `kombu.Producer.batch()` collects in: many publishes, sent together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_transport_amqp.channel import Channel

__all__ = ["PublishBatch"]


class PublishBatch:
    """Messages that wait to be sent together."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel = channel
        self.max_size = max_size
        self._waiting: list[tuple[Any, str, str]] = []

    def publish(self, message: Any, exchange: str, routing_key: str, **kwargs: Any) -> None:
        """Collect one message; publish them when there are `max_size`."""
        self._waiting.append((message, exchange, routing_key))
        if len(self._waiting) >= self.max_size:
            self.flush()

    def flush(self) -> None:
        """Publish what was collected."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.channel.publish_many(waiting)

    def discard(self) -> None:
        """Forget what was collected."""
        self._waiting = []

    def close(self) -> None:
        """Forget what was collected."""
        self._waiting = []
