"""The prefetch window of a channel that keeps no messages: the broker has them."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

from kombu.transport import virtual

__all__ = ["Window"]

Tag = TypeVar("Tag")
Source = TypeVar("Source")


class Window(virtual.QoS, Generic[Tag, Source]):
    """The prefetch window, kombu's `QoS`. `unacked` maps delivery tags to where they came from, oldest first."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        # Not the base class's __init__: it registers a restore at exit, where each of our brokers notices by
        # itself that a holder is gone.
        self.channel = channel
        self.prefetch_count = prefetch_count or 0
        self.unacked: dict[Tag, Source] = {}

    def can_consume(self) -> bool:
        """Say whether one more message may be delivered."""
        return not self.prefetch_count or len(self.unacked) < self.prefetch_count

    def can_consume_max_estimate(self) -> int | None:
        """Return how many more may be delivered, None without a limit."""
        return max(self.prefetch_count - len(self.unacked), 0) if self.prefetch_count else None

    def append(self, message: Any, delivery_tag: Tag) -> None:
        """Nothing: a delivery is noted when it is taken from its queue."""

    def get(self, delivery_tag: Tag) -> NoReturn:
        """Raise KeyError: messages are not kept, the broker has them."""
        raise KeyError(delivery_tag)

    def ack(self, delivery_tag: Tag) -> None:
        """Settle one delivery."""
        self.channel.basic_ack(delivery_tag)

    def reject(self, delivery_tag: Tag, requeue: bool = False) -> None:
        """Drop one delivery, or put it back."""
        self.channel.basic_reject(delivery_tag, requeue)

    def restore_unacked(self) -> list[Any]:
        """Put all unacknowledged deliveries back."""
        self.channel.basic_recover(requeue=True)
        return []

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put all unacknowledged deliveries back."""
        self.restore_unacked()
