# mypy: disable-error-code="no-untyped-call,misc"
"""The part of the kombu channel that knows who consumes what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bootsteps_transport_redis import codec
from bootsteps_transport_redis.declaring import DeclaringChannel
from bootsteps_transport_redis.plan import Planner
from bootsteps_transport_redis.source import Source

if TYPE_CHECKING:
    from bootsteps_transport_redis.transport import Transport

__all__ = ["Subscribing", "Subscription"]


class Subscription(NamedTuple):
    """A consumer of one queue."""

    tag: str
    queue: str
    no_ack: bool
    callback: Callable[[codec.Message], Any]


class Subscribing(DeclaringChannel):
    """Consumers by their tags, and the plans by which messages are taken for them."""

    #: How large a part of each batch a priority step gets, by step; without it the smallest step goes first, always.
    priority_weights: dict[int, float] = {}
    _transport: Transport
    _subscriptions: dict[str, Subscription]
    _by_queue: dict[str, list[Subscription]]
    _planners: list[tuple[bool, Planner]]
    _turn: int

    def consumed(self) -> list[str]:
        """Return the queues that are consumed and are lists."""
        return [*dict.fromkeys(s.queue for s in self._subscriptions.values() if s.queue not in self._fanout_queues)]

    def watched(self) -> list[str]:
        """Return the keys that have to be watched for messages."""
        return [key for queue in self.consumed() for key in self._lists(queue)]

    def _pattern(self, queue: str) -> str:
        return str(self.global_keyprefix + self._get_publish_topic(*self._fanout_queues[queue]))

    def _replan(self) -> None:
        """Make the plans anew: one for the queues whose deliveries are registered, one for the others."""
        self._by_queue = {}
        for s in self._subscriptions.values():
            self._by_queue.setdefault(s.queue, []).append(s)
        lazy = {s.queue for s in self._subscriptions.values() if s.no_ack}
        queues = self.consumed()
        parts = [[q for q in queues if q not in lazy], [q for q in queues if q in lazy]]
        self._planners = [(i == 0, self._planner(part)) for i, part in enumerate(parts) if part]
        if parts[0]:
            self._transport.lease.begin()
        self._transport.disarm()

    def _planner(self, queues: Sequence[str]) -> Planner:
        order = sorted(queues) if self.queue_order_strategy == "sorted" else queues
        lists = [self._sources(queue) for queue in order]
        rotate = self.queue_order_strategy == "round_robin"
        return Planner(lists, self.priority_steps, self.priority_weights, rotate)

    def _sources(self, queue: str) -> list[Source]:
        tail = f',"",{codec.encode(queue)}]'.encode()
        return [Source(queue, key, tail) for key in self._lists(queue)]

    def _consumer_of(self, queue: str) -> Subscription | None:
        found = self._by_queue.get(queue)
        if not found:
            return None
        if len(found) == 1:
            return found[0]
        self._turn += 1
        return found[self._turn % len(found)]
