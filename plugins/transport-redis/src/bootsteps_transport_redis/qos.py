"""The prefetch window of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from kombu.transport import virtual

if TYPE_CHECKING:
    from bootsteps_transport_redis.channel import Channel

__all__ = ["QoS", "Source"]


class Source(NamedTuple):
    """A list of the server's that messages come from: one priority of one queue."""

    queue: str
    key: str
    #: What follows the message in its entry of `unacked`, JSON. kombu writes exchange and routing key there, to find
    #: the queue when it restores the message; the default exchange with the queue's name leads to where it came from.
    tail: bytes


class QoS(virtual.QoS):
    """The prefetch window. `unacked` maps delivery tags to where they came from, oldest first."""

    def __init__(self, channel: Channel, prefetch_count: int = 0) -> None:
        # Not the base class's __init__: it registers a restore at exit, which our lease makes needless.
        self.channel = channel
        self.prefetch_count = prefetch_count or 0
        self.unacked: dict[str, Source] = {}

    def can_consume(self) -> bool:
        """Say whether one more message may be delivered."""
        return not self.prefetch_count or len(self.unacked) < self.prefetch_count

    def can_consume_max_estimate(self) -> int | None:
        """Return how many more may be delivered, None without a limit."""
        return max(self.prefetch_count - len(self.unacked), 0) if self.prefetch_count else None

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Nothing: a delivery is registered when it is taken from its queue."""

    def get(self, delivery_tag: Any) -> NoReturn:
        """Raise KeyError: messages are not kept, the server has them."""
        raise KeyError(delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Settle one delivery."""
        self.channel.basic_ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Drop one delivery, or put it back."""
        self.channel.basic_reject(delivery_tag, requeue)

    def restore_unacked(self) -> list[Any]:
        """Put all unacknowledged deliveries back."""
        self.channel.requeue(list(self.unacked))
        return []

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put all unacknowledged deliveries back."""
        self.restore_unacked()
