"""What `kombu.Producer.batch()` collects in: many publishes, sent together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["PublishBatch"]


class Publishing(Protocol):
    """A channel that publishes many messages at once."""

    def publish_many(self, messages: Sequence[tuple[Any, str, str]]) -> object:
        """Publish (message, exchange, routing key) each; the messages are those of `prepare_message`."""


class PublishBatch:
    """Messages that wait to be sent together, by the channel's `publish_many`."""

    def __init__(self, channel: Publishing, max_size: int) -> None:
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
