# mypy: disable-error-code="no-untyped-call,misc"
"""The kombu channel: consumers, the buffer of reserved messages, prefetch and settlement."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from bootsteps_transport_batches.publishing import PublishBatch
from bootsteps_transport_batches.window import Window
from bootsteps_transport_redis import codec
from bootsteps_transport_redis.declaring import DeclaringChannel
from bootsteps_transport_redis.lease import LeaseLost
from bootsteps_transport_redis.plain import Parts, PlainMessage, look
from bootsteps_transport_redis.plan import Planner
from bootsteps_transport_redis.returning import Returning
from bootsteps_transport_redis.scripts import RESERVE
from bootsteps_transport_redis.source import Source
from bootsteps_transport_redis.subscribing import Subscribing, Subscription

if TYPE_CHECKING:
    from bootsteps_transport_redis.transport import Transport

__all__ = ["Channel"]

logger = logging.getLogger(__name__)

#: Messages reserved at once where the prefetch count sets no limit; and at most.
UNLIMITED_BATCH = 256
#: Of the prefetch window, the part (1/n) that must be free before a busy consumer reserves again.
REFILL_PART = 2


class Taken(NamedTuple):
    """A message that was taken from its queue and has not been delivered."""

    #: The delivery's; empty if it needs no acknowledgement.
    tag: str
    source: Source
    envelope: dict[str, Any] | Parts
    #: Earlier deliveries that were not acknowledged.
    failed: int


class Channel(Subscribing, Returning, DeclaringChannel):
    """A channel on Redis. Belongs to one thread, except that any thread may acknowledge."""

    Message: Any = codec.Message
    QoS: Any = Window
    supports_fanout = True
    from_transport_options: Any = (*DeclaringChannel.from_transport_options, "priority_weights")

    connection: Transport | None

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._transport = connection
        self._pid = os.getpid()
        self._subscriptions: dict[str, Subscription] = {}
        self._by_queue: dict[str, list[Subscription]] = {}  # of each queue
        self._planners: list[tuple[bool, Planner]] = []
        self._buffer: deque[Taken] = deque()
        self._turn = 0
        #: There may be messages that were not looked at yet.
        self.maybe_ready = False

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """Return what `kombu.Producer.batch` collects in."""
        return PublishBatch(self, max_size)

    # -- consume

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[[codec.Message], Any], consumer_tag: str, **kwargs: Any
    ) -> str:
        """Deliver the messages of a queue to `callback`."""
        tag = consumer_tag or f"ctag-{uuid4().hex}"
        self._subscriptions[tag] = Subscription(tag, queue, bool(no_ack) or not self.ack_emulation, callback)
        if queue in self._fanout_queues:
            self._transport.listen(self._pattern(queue), self, queue)
        self._replan()
        self._look_again()
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop a consumer; what it has not settled stays with this channel."""
        gone = self._subscriptions.pop(consumer_tag, None)
        if gone is None or self._pid != os.getpid():
            return
        if all(left.queue != gone.queue for left in self._subscriptions.values()):
            if gone.queue in self._fanout_queues:
                self._transport.unlisten(self._pattern(gone.queue), self, gone.queue)
            self._unbuffer([taken for taken in self._buffer if taken.source.queue == gone.queue])
        self._replan()
        if not self._subscriptions:
            self._transport.flush()  # maybe nobody drains any more

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> codec.Message | None:
        """Return one message of a queue, None if there is none."""
        registered = not no_ack and self.ack_emulation
        if registered:
            self._transport.lease.begin()
        found = self._take(self._planner([queue]), 1, registered)
        return self._hand_out(found[0], None) if found else None

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Set how many deliveries may be unsettled; 0 is no limit."""
        self.qos.prefetch_count = prefetch_count
        free = self.qos.can_consume_max_estimate()
        if free is not None:
            self._unbuffer(list(islice(self._buffer, free, None)))
        self._transport.wake_soon()

    def hungry(self, eager: bool) -> bool:
        """Say whether to reserve now. Unless `eager`, a busy consumer waits for a part of its window."""
        if self._buffer or not self.maybe_ready or not self._planners:
            return False
        free = self.qos.can_consume_max_estimate()
        if free is None:
            return True
        if eager or free * REFILL_PART >= self.qos.prefetch_count:
            return free > 0
        return free > 0 and self._transport.settled_since is None  # nothing is on its way that would free more

    def reserve(self) -> None:
        """Fill the empty buffer with as many messages as the prefetch count allows."""
        free = self.qos.can_consume_max_estimate()
        limit = UNLIMITED_BATCH if free is None else min(free, UNLIMITED_BATCH)
        self.maybe_ready = False
        self._turn += 1
        turn = self._turn % len(self._planners)
        for registered, planner in self._planners[turn:] + self._planners[:turn]:
            if limit <= 0:
                self.maybe_ready = True
                break
            taken = self._take(planner, limit, registered)
            self.maybe_ready = self.maybe_ready or len(taken) == limit
            limit -= len(taken)
            self._buffer.extend(taken)

    def _take(self, planner: Planner, limit: int, registered: bool) -> list[Taken]:
        """Settle what is settled and take messages, in one call."""
        plan, transport = planner.next(), self._transport
        lease, keys = transport.lease, self.keys
        number = lease.numbers(limit) if registered else 0
        share = int(self.queue_order_strategy == "round_robin")
        answer = self._link.script(
            RESERVE,
            [keys.unacked, keys.index, lease.held, keys.leases, *plan.keys],
            [lease.holder, number, limit, int(registered), plan.width, share, *plan.caps(limit), *plan.tails,
             *transport.settled()],
        )  # fmt: skip
        if answer is None:
            lease.holder = ""
            raise LeaseLost
        found: list[tuple[str, Source, bytes]] = []
        for place, raws in answer:
            source = plan.sources[place - 1]
            for raw in raws:
                found.append((f"{lease.holder}:{number}" if registered else "", source, raw))
                number += 1
        return self._read(found)

    def _read(self, found: Sequence[tuple[str, Source, bytes]]) -> list[Taken]:
        taken, again = [], []
        for tag, source, raw in found:
            try:
                envelope = look(raw) or codec.read(raw)
            except (ValueError, TypeError, RecursionError) as exc:
                self._drop_unreadable(tag, source, raw, exc)
                continue
            taken.append(Taken(tag, source, envelope, 0))
            if tag and type(envelope) is dict and b'"redelivered"' in raw and codec.is_redelivered(envelope):
                again.append(len(taken) - 1)
        return self.counted(taken, again) if again else taken

    def _drop_unreadable(self, tag: str, source: Source, raw: bytes, exc: Exception) -> None:
        logger.error("dropped a message of the queue %s, which cannot be read: %s: %.200r", source.queue, exc, raw)
        if tag:
            self._settle([tag])

    def deliver_one(self) -> bool:
        """Hand one reserved message to its consumer; False when there is none or the window is full."""
        qos = self.qos
        while self._buffer and (not qos.prefetch_count or len(qos.unacked) < qos.prefetch_count):
            taken = self._buffer.popleft()
            subscription = self._consumer_of(taken.source.queue)
            if subscription is None:
                self._return([(taken.tag, taken.source)])
                continue
            message = self._hand_out(taken, subscription.tag)
            if message is not None:
                subscription.callback(message)
                return True
        return False

    def deliverable(self) -> bool:
        """Say whether `deliver_one` would do something."""
        return bool(self._buffer) and bool(self.qos.can_consume())

    def deliver_published(self, queue: str, data: bytes) -> None:
        """Hand over what was published to a fanout exchange; it needs no acknowledgement."""
        subscription = self._consumer_of(queue)
        if subscription is None:
            return
        source = Source(queue, "", b"")
        for taken in self._read([("", source, data)]):
            message = self._hand_out(taken, subscription.tag)
            if message is not None:
                subscription.callback(message)

    def _hand_out(self, taken: Taken, consumer_tag: str | None) -> codec.Message | None:
        tag, source, envelope, failed = taken
        try:
            message: codec.Message
            if isinstance(envelope, dict):
                message = codec.decode(envelope, self, tag, source.queue, consumer_tag, failed)
            else:
                message = PlainMessage(envelope, self, tag, consumer_tag)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            self._drop_unreadable(tag, source, str(envelope).encode(), exc)
            return None
        if tag:
            self.qos.unacked[tag] = source
        return message

    # -- settle

    def bring_back(self) -> int:
        """Put what dead consumers held back into its queues; return how many messages. Consuming does so by itself."""
        return int(self._transport.bring_back(self))

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Settle a delivery, with `multiple` all up to it. Sent with others, see the README."""
        unacked = self.qos.unacked
        if not multiple:
            if unacked.pop(delivery_tag, None) is not None:
                self._settle([delivery_tag])
            return
        tags = list(unacked)
        self.ack_many(tags[: tags.index(delivery_tag) + 1] if delivery_tag in unacked else [])

    def ack_many(self, tags: Iterable[str]) -> None:
        """Settle deliveries."""
        pop = self.qos.unacked.pop
        self._settle([tag for tag in tags if pop(tag, None) is not None])

    def _settle(self, tags: Sequence[str]) -> None:
        self.forget_counts(tags)
        self._transport.settle(tags)
        if not self._subscriptions:
            self._transport.flush()  # nobody turns a loop that would
        else:
            self._transport.flush_soon()

    def _unbuffer(self, gone: list[Taken]) -> None:
        if gone:
            self._buffer = deque(taken for taken in self._buffer if taken not in gone)
            self._return([(taken.tag, taken.source) for taken in reversed(gone)])

    def _look_again(self) -> None:
        self.maybe_ready = True
        self._transport.wake_soon()

    def close(self) -> None:
        """Give back what is unsettled (counted if it was handed to a consumer) and leave the connection."""
        if self.closed:
            return
        self.closed = True
        self._transport.hurry()
        try:
            if self._pid == os.getpid() and not self._link.silent:  # else its lease runs out
                self._give_everything_back()
        finally:
            if self.connection is not None:
                self.connection.close_channel(self)

    def _give_everything_back(self) -> None:
        self._unbuffer(list(self._buffer))
        for tag in list(self._subscriptions):
            self.basic_cancel(tag)
        self.requeue(list(self.qos.unacked), front=True)
        for queue in [queue for queue in self._fanout_queues if queue in self.auto_delete_queues]:
            self.queue_delete(queue)
        self._transport.flush()
