# mypy: disable-error-code="no-untyped-call"
# kombu has no types.
"""The prefetch limit of the task channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from math import inf
from time import monotonic
from typing import Any

from kombu.common import QoS

__all__ = ["Own", "Prefetch", "own_limits"]

#: A limit that was exact for a moment stays so for a while: from one kind to the other the consumers are made anew.
EXACT_S = 1.0


class Own(Enum):
    """Whether consumers have limits of their own, or the channel one for all of them.

    RabbitMQ holds a consumer's own limit in the queue's process; for the channel's it asks another process before each
    message. But it is the channel's that can be changed at once and to the message, and that counts what several
    consumers hold.
    """

    NEVER = auto()
    #: While the limit need not be exact.
    AT_TIMES = auto()
    #: Quorum queues know no other.
    ALWAYS = auto()


def own_limits(channel: Any, queues: Iterable[Any]) -> Own:
    """Tell it for consumers of these kombu queues."""
    all_ = list(queues)
    if any(_argument(queue, "x-queue-type") == "quorum" for queue in all_):
        return Own.ALWAYS
    if not getattr(channel, "changes_own_limits", False) or len(all_) != 1:
        return Own.NEVER
    return Own.AT_TIMES if _may_lose_its_consumer(all_[0]) else Own.NEVER


def _may_lose_its_consumer(queue: Any) -> bool:
    """Tell whether nothing happens when its consumer is made anew: it is not deleted then, and goes to nobody else."""
    single = _argument(queue, "x-single-active-consumer")
    return not (queue.auto_delete or queue.no_ack or queue.consumer_arguments or single)


def _argument(queue: Any, name: str) -> Any:
    return (queue.queue_arguments or {}).get(name)


class Prefetch(QoS):
    """kombu's QoS, whose `set` lasts: there the next update would bring the old value back.

    `usual()` is the limit of a worker in which nothing waits for its time, and for which nobody has asked another.
    """

    def __init__(
        self,
        say: Callable[..., object],
        usual: Callable[[], int],
        own: Callable[[], Own] = lambda: Own.NEVER,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`say(prefetch_count, apply_global)` tells the broker."""
        self._say = say
        self._usual = usual
        self._own = own
        self._clock = clock
        self._exact_until = -inf
        #: How many messages more (or fewer, below 0) the broker is told than `value` says.
        self.extra = 0
        super().__init__(self._tell, usual())

    @property
    def told(self) -> int:
        """What the broker is told; 0 is no limit."""
        return max(1, self.value + self.extra) if self.value else 0

    def stretch(self, extra: int) -> None:
        """Let the broker send so many more than `value` says, from now on."""
        if extra != self.extra:
            self.extra = extra
            self.tell()

    def tell(self) -> None:
        """Tell the broker again: there are other queues."""
        self._tell(self.value)

    def _tell(self, prefetch_count: int) -> None:
        count = max(1, prefetch_count + self.extra) if prefetch_count else 0
        self._say(prefetch_count=count, apply_global=not self._is_own(prefetch_count))

    def _is_own(self, value: int) -> bool:
        """Tell whether the limit is to be each consumer's own: not if it is counted, or less than usual."""
        own = self._own()
        if own is not Own.AT_TIMES:
            return own is Own.ALWAYS
        now = self._clock()
        if self.extra < 0 or value != self._usual():
            self._exact_until = now + EXACT_S
        return now >= self._exact_until

    def set(self, pcount: int) -> int:
        self.value = pcount
        return int(super().set(pcount))
