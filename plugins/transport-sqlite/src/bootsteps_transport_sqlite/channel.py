# mypy: disable-error-code="no-untyped-call"
"""The kombu channel: consumers, the buffer of reserved messages, prefetch and settlement."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from bootsteps_transport_batches.publishing import PublishBatch
from bootsteps_transport_batches.window import Window
from bootsteps_transport_sqlite import codec
from bootsteps_transport_sqlite.codec import decode, encode
from bootsteps_transport_sqlite.declaring import DeclaringChannel
from bootsteps_transport_sqlite.messages import NewMessage, Row

if TYPE_CHECKING:
    from bootsteps_transport_sqlite.transport import Transport

__all__ = ["Channel"]

logger = logging.getLogger(__name__)

#: Messages reserved at once where the prefetch count sets no limit.
UNLIMITED_BATCH = 256
#: Of the prefetch window, the part (1/n) that must be free before a busy consumer reserves again.
REFILL_PART = 4


class Subscription(NamedTuple):
    """A consumer of one queue."""

    tag: str
    queue_name: str
    queue_id: int
    no_ack: bool
    callback: Callable[[codec.Message], Any]


class Channel(DeclaringChannel):
    """A channel on the broker file. Belongs to one thread, except that any thread may acknowledge."""

    Message: Any = codec.Message
    QoS: Any = Window
    supports_fanout = True

    connection: Transport | None

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._broker = connection.broker
        self._transport = connection
        self._pid = os.getpid()
        self._tags = count(1)
        self._subscriptions: dict[str, Subscription] = {}
        self._buffer: deque[Row] = deque()
        self._first_queue = 0
        #: There may be messages that were not looked at yet.
        self.maybe_ready = False

    # -- publish

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> None:
        """Publish one message in a transaction of its own."""
        self._publish([encode(message, exchange, routing_key)])

    def publish_many(self, messages: Iterable[tuple[dict[str, Any], str, str]]) -> None:
        """Publish (message, exchange, routing key) each, in one transaction: all or none.

        The messages are those of `prepare_message`.
        """
        self._publish([encode(*entry) for entry in messages])

    def publish_delayed(self, message: dict[str, Any], exchange: str, routing_key: str, delay_s: float) -> None:
        """Publish a message that cannot be delivered before `delay_s` seconds have passed."""
        self._publish([encode(message, exchange, routing_key, delay_s)])

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """Return what `kombu.Producer.batch` collects in."""
        return PublishBatch(self, max_size)

    def _publish(self, batch: Sequence[NewMessage]) -> None:
        self._check_open()
        try:
            self._broker.publish(batch)
        except KeyError as exc:
            self._not_found("exchange", exc.args[0], "basic_publish")

    # -- consume

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[[codec.Message], Any],
        consumer_tag: str,
        **kwargs: Any,
    ) -> str:
        """Deliver the messages of a queue to `callback`."""
        tag = consumer_tag or f"ctag-{uuid4().hex}"
        found = self._queue(queue, "basic_consume")
        self._broker.add_consumer(self._consumer_key(tag), found.id)
        self._subscriptions[tag] = Subscription(tag, queue, found.id, bool(no_ack), callback)
        self._look_again()
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop a consumer; what it has not settled stays with this channel."""
        gone = self._subscriptions.pop(consumer_tag, None)
        if gone is None or self._pid != os.getpid():
            return
        if all(left.queue_id != gone.queue_id for left in self._subscriptions.values()):
            self._unbuffer([row for row in self._buffer if row.queue == gone.queue_id])
        self._broker.remove_consumer(self._consumer_key(consumer_tag), gone.queue_id)
        if not self._subscriptions:
            self._broker.flush()  # maybe nobody drains any more

    def _consumer_key(self, tag: str) -> str:
        return f"{self.channel_id}:{tag}"

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> codec.Message | None:
        """Return one message of a queue, None if there is none."""
        found = self._queue(queue, "basic_get")
        self._broker.touch(found)
        rows = self._broker.reserve([found.id], 1)
        return self._receive(rows[0], no_ack, None) if rows else None

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Set how many deliveries may be unsettled; 0 is no limit."""
        self.qos.prefetch_count = prefetch_count
        free = self.qos.can_consume_max_estimate()
        if free is not None:
            self._unbuffer(list(islice(self._buffer, free, None)))
        self._transport.flush_soon()

    def hungry(self, eager: bool) -> bool:
        """Say whether to reserve now. Unless `eager`, a busy consumer waits for a part of its window."""
        if self._buffer or not self.maybe_ready or not self._subscriptions:
            return False
        free = self.qos.can_consume_max_estimate()
        if free is None:
            return True
        return free > 0 and (eager or free * REFILL_PART >= self.qos.prefetch_count)

    def reserve(self) -> None:
        """Fill the empty buffer with as many messages as the prefetch count allows."""
        free = self.qos.can_consume_max_estimate()
        limit = UNLIMITED_BATCH if free is None else min(free, UNLIMITED_BATCH)
        queues = list(dict.fromkeys(s.queue_id for s in self._subscriptions.values()))
        turn = self._first_queue % len(queues)
        self._first_queue += 1
        self.maybe_ready = False
        rows = self._broker.reserve(queues[turn:] + queues[:turn], limit)
        self.maybe_ready = len(rows) == limit
        self._buffer.extend(rows)

    def deliver_one(self) -> bool:
        """Hand one reserved message to its consumer; False when there is none or the window is full."""
        while self._buffer and self.qos.can_consume():
            row = self._buffer.popleft()
            subscription = self._consumer_of(row.queue)
            if subscription is None:
                self._broker.give_back([row.id], counted=False)
                continue
            message = self._receive(row, subscription.no_ack, subscription.tag)
            if message is not None:
                subscription.callback(message)
                return True
        return False

    def deliverable(self) -> bool:
        """Say whether `deliver_one` would do something."""
        return bool(self._buffer) and bool(self.qos.can_consume())

    def _consumer_of(self, queue: int) -> Subscription | None:
        found = [s for s in self._subscriptions.values() if s.queue_id == queue]
        return found[next(self._tags) % len(found)] if len(found) > 1 else found[0] if found else None

    def _receive(self, row: Row, no_ack: bool, consumer_tag: str | None) -> codec.Message | None:
        tag = next(self._tags)
        try:
            message = decode(row, self, tag, consumer_tag)
        except (ValueError, TypeError) as exc:
            logger.error("Dropped message %d, which cannot be read: %s", row.id, exc)
            self._settle([row.id])
            return None
        if no_ack:
            self._settle([row.id])
        else:
            self.qos.unacked[tag] = row.id
        return message

    # -- settle

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Settle a delivery, with `multiple` all up to it. Committed with others, see the README."""
        unacked = self.qos.unacked
        if not multiple:
            row = unacked.pop(delivery_tag, None)
            if row is not None:
                self._settle([row])
            return
        self.ack_many([tag for tag in list(unacked) if tag <= delivery_tag])

    def ack_many(self, tags: Iterable[int]) -> None:
        """Settle deliveries."""
        pop = self.qos.unacked.pop
        self._settle([row for row in [pop(tag, None) for tag in tags] if row is not None])

    def _settle(self, rows: Sequence[int]) -> None:
        self._broker.settle(rows)
        if not self._subscriptions:
            self._broker.flush()  # nobody turns a loop that would
        else:
            self._transport.flush_soon()

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Drop a delivery, or put it back at its old place and count it as failed."""
        if requeue:
            self.give_back([delivery_tag])
        else:
            self.basic_ack(delivery_tag)

    def give_back(self, tags: Iterable[int], *, counted: bool = True) -> None:
        """Put deliveries back at their old place. `counted=False`: they were not begun."""
        pop = self.qos.unacked.pop
        rows = [row for row in [pop(tag, None) for tag in tags] if row is not None]
        self._broker.give_back(rows, counted=counted)
        self._look_again()

    def basic_recover(self, requeue: bool = False) -> None:
        """Put all unacknowledged deliveries back."""
        self.give_back(list(self.qos.unacked))

    def _unbuffer(self, rows: list[Row]) -> None:
        if rows:
            gone = {row.id for row in rows}
            self._buffer = deque(row for row in self._buffer if row.id not in gone)
            self._broker.give_back(list(gone), counted=False)

    def _look_again(self) -> None:
        self.maybe_ready = True
        self._transport.wake_soon()

    def close(self) -> None:
        """Give back what is unsettled (counted if it was handed to a consumer) and leave the connection."""
        if self.closed:
            return
        self.closed = True
        if self._pid == os.getpid():
            self._unbuffer(list(self._buffer))
            for tag in list(self._subscriptions):
                self.basic_cancel(tag)
            self.give_back(list(self.qos.unacked))
            self._broker.flush()
        if self.connection is not None:
            self.connection.close_channel(self)

    def rejoin(self) -> None:
        """Consume again from queues that were deleted and declared anew by others."""
        queues = self._broker.topology().queues
        for tag, s in list(self._subscriptions.items()):
            found = queues.get(s.queue_name)
            if found is not None and found.id != s.queue_id:
                self._broker.add_consumer(self._consumer_key(tag), found.id)
                self._subscriptions[tag] = s._replace(queue_id=found.id)
