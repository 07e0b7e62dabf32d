# mypy: disable-error-code="no-untyped-call"
# kombu has no types.
"""The prefetch limit of the task channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.common import QoS

__all__ = ["Prefetch", "is_quorum"]


def is_quorum(queue: Any) -> bool:
    """Tell whether a kombu queue is one of RabbitMQ's quorum queues."""
    return (queue.queue_arguments or {}).get("x-queue-type") == "quorum"


class Prefetch(QoS):
    """kombu's QoS, whose `set` lasts: there the next update would bring the old value back."""

    def __init__(self, tell: Callable[..., object], limit: int) -> None:
        self._say = tell
        #: How many messages more (or fewer, below 0) the broker is told than `value` says.
        self.extra = 0
        super().__init__(self._tell, limit)

    @property
    def told(self) -> int:
        """What the broker is told; 0 is no limit."""
        return max(1, self.value + self.extra) if self.value else 0

    def stretch(self, extra: int) -> None:
        """Let the broker send so many more than `value` says, from now on."""
        if extra != self.extra:
            self.extra = extra
            self._tell(self.value)

    def _tell(self, prefetch_count: int) -> None:
        self._say(prefetch_count=max(1, prefetch_count + self.extra) if prefetch_count else 0)

    def set(self, pcount: int) -> int:
        self.value = pcount
        return int(super().set(pcount))
