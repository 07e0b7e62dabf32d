# mypy: disable-error-code="no-untyped-call,misc,override,assignment"
"""py-amqp's channel, which settles deliveries and publishes messages in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError, MessageNacked, RecoverableConnectionError
from kombu.transport import pyamqp

from bootsteps_transport_amqp.confirming import REFUSED, SILENT_S, Confirming, NotTaken
from bootsteps_transport_amqp.consuming import Consuming
from bootsteps_transport_amqp.delaying import WAITED, as_sent, later_copy
from bootsteps_transport_amqp.message import Message
from bootsteps_transport_amqp.settling import Unsettled, ack_frame
from bootsteps_transport_amqp.writing import FRAME_OVERHEAD, Frames
from bootsteps_transport_batches.publishing import PublishBatch

if TYPE_CHECKING:
    from bootsteps_transport_amqp.connection import Connection

__all__ = ["Channel"]

log = logging.getLogger(__name__)

#: Acknowledgements out of order wait so long for those before them, twice as long at most,
STRAY_S = 0.005
#: and so many of them at most, or half of what may be unsettled. Each that does not wait is a frame of its own; pool
#: children end their tasks 32 at a time, and two of them have every other message.
STRAYS = 128
#: So few in order wait as long for more, if they are less than a quarter of what may be unsettled: a broker that is
#: told at once takes the processor from who waits for the result.
FEW = 8
#: Seconds that the broker has to answer, on a loop.
ANSWER_S = 10.0


class Channel(Consuming):
    """A channel on RabbitMQ. Belongs to one thread."""

    connection: Connection | None
    _unsettled: Unsettled
    _unsent_since = 0.0
    #: The prefetch limit can follow the pace of the tasks, though nothing can be given back.
    follows_pace = True

    def __init__(self, connection: Connection, *args: Any, **kwargs: Any) -> None:
        self._unsettled = Unsettled()
        self._frames = Frames()
        self._confirming: Confirming | None = None
        self._cannot_wait = False
        #: There is an acknowledgement that must not wait.
        self._urgent = False
        super().__init__(connection, *args, **kwargs)

    def message_to_python(self, raw_message: Any) -> Any:
        """Return kombu's message; ours is one."""
        return raw_message if type(raw_message) is Message else super().message_to_python(raw_message)

    def wait(self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False) -> Any:
        """Wait for an answer; on a loop not for ever. What is delivered meanwhile comes to its consumer later."""
        connection = self._connected()
        if timeout is None and connection.collecting:
            timeout = ANSWER_S
        with connection.answers_only():
            return super().wait(method, callback, timeout, returns_tuple)

    # -- consume

    def delivered(self, tag: int, consumer: str) -> None:
        """Note a delivery."""
        if consumer not in self.no_ack_consumers:
            self._unsettled.add(tag)

    def _on_basic_deliver(
        self, consumer_tag: str, delivery_tag: int, redelivered: bool, exchange: str, routing_key: str, msg: Any
    ) -> None:
        # What is not read here, e.g. a large body.
        self.delivered(delivery_tag, consumer_tag)
        if exchange.startswith(WAITED):
            exchange, routing_key = "", self.queue_of(consumer_tag)
            msg.properties["application_headers"] = as_sent(msg.headers or {})
        deliver = partial(super()._on_basic_deliver, consumer_tag, delivery_tag, redelivered, exchange, routing_key)
        self._connected().deliver(self, deliver, msg)

    def basic_get(self, queue: str = "", no_ack: bool = False, **kwargs: Any) -> Any:
        """Return one message of a queue, None if there is none."""
        found = super().basic_get(queue, no_ack=no_ack, **kwargs)
        if found is not None and not no_ack:
            self._unsettled.add(found.delivery_tag)
        return found

    # -- publish

    def _basic_publish(
        self, msg: Any, exchange: str = "", routing_key: str = "", mandatory: bool = False, immediate: bool = False,
        timeout: float | None = None, confirm_timeout: float | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Publish a message."""
        connection = self._connected()
        if immediate or timeout is not None or kwargs:
            options = {"mandatory": mandatory, "immediate": immediate, "timeout": timeout, **kwargs}
            return super()._basic_publish(msg, exchange, routing_key, **options)
        if not connection.collecting:
            connection.hear()  # the broker may have said that it blocks us, or why it closed the channel
            if connection.blocked:
                connection.wait_while_blocked()
            connection = self._connected()
        largest = connection.frame_max - FRAME_OVERHEAD
        connection.write(b"".join(self._frames.of(self.channel_id, largest, msg, exchange, routing_key, mandatory)))
        return None

    basic_publish = _basic_publish

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        """Publish a message and wait until the broker has it: `basic_publish`, where `confirm_publish` is set.

        Raises `NotTaken` when it refuses it, `RecoverableConnectionError` when it says nothing.
        """
        kwargs["confirm_timeout"] = kwargs.get("confirm_timeout") or SILENT_S
        try:
            return super().basic_publish_confirm(*args, **kwargs)
        except MessageNacked as exc:
            raise NotTaken({0: REFUSED}, 1) from exc
        except TimeoutError as exc:
            raise RecoverableConnectionError(f"no confirmation within {kwargs['confirm_timeout']:g} s") from exc

    def publish_many(self, messages: Sequence[tuple[Any, str, str]]) -> None:
        """Publish messages with exchange and routing key of each, and wait until the broker has them all.

        Raises `NotTaken`, an error of the channel, when it refuses some or has no queue for them.
        """
        if self._confirming is None or not self._confirming.usable:
            self._confirming = Confirming(self._connected())
        self._confirming.publish(messages)

    def post_many(self, messages: Sequence[tuple[Any, str, str]]) -> None:
        """The same, but nothing is waited for, and nobody hears of what has no queue."""
        connection = self._connected()
        with connection.gathering():
            for message, exchange, routing_key in messages:
                self.basic_publish(message, exchange, routing_key)

    def publish_later(self, messages: Sequence[tuple[Any, str, float]]) -> bool:
        """Publish messages that come to their queues (by name) later, at about the times that stand third.

        Waits until the broker has them. Seconds since the epoch. False if this queue cannot be waited for: by its name.
        Raises `NotTaken`.
        """
        connection = self._connected()
        delays = connection.delays
        if not all(delays.can(queue) for _, queue, _ in messages):
            return False
        refused: dict[int, str] = {}

        def note(place: int, taken: bool) -> None:
            if not taken:
                refused[place] = "the queues for later are full or gone"

        for queue in {queue for _, queue, _ in messages}:
            delays.prepare(queue)
        with connection.gathering():
            for place, (message, queue, until) in enumerate(messages):
                delays.send(message, queue, until, partial(note, place))
        delays.wait()
        if refused:
            raise NotTaken(refused, len(messages))
        return True

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """Return what `kombu.Producer.batch` collects in."""
        return PublishBatch(self, max_size)

    # -- settle

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **kwargs: Any) -> None:
        """Settle a delivery, with `multiple` all up to it. On a loop it is sent with others at the end of the turn.

        It does not wait longer: what is acknowledged alone is a task that may run once at most, and begins now.
        """
        self._urgent = True
        if multiple:
            self.ack_many(self._unsettled.up_to(delivery_tag or 2**64))
        else:
            self.ack_many((delivery_tag,))

    def ack_many(self, tags: Iterable[int]) -> None:
        """Settle deliveries. On a loop a few of them may wait for a moment (`send_acks`)."""
        connection = self._connected()
        strange = self._unsettled.done(tags)
        if strange:
            connection.write(b"".join(ack_frame(self.channel_id, tag, False) for tag in strange))
        if not connection.collecting:
            self.send_acks()
        elif self not in connection.unsent:
            self._unsent_since = monotonic()
            connection.unsent.add(self)
            connection.wake_later()

    def send_acks(self, eager: bool = True) -> None:
        """Send acknowledgements. Unless `eager`, a few wait a moment for more, and those out of order for others."""
        connection = self.connection
        if connection is None:
            return
        unsettled, eager = self._unsettled, eager or self._urgent
        waited = monotonic() - self._unsent_since >= STRAY_S
        if unsettled.untold < min(FEW, self._limit // 4) and not (eager or waited):
            connection.wake_later()
            return
        self._urgent = False
        run = unsettled.run()
        frames = [ack_frame(self.channel_id, run, True)] if run else []
        if eager or unsettled.untold >= min(STRAYS, self._limit // 2 or STRAYS):
            frames += [ack_frame(self.channel_id, tag, False) for tag in unsettled.rest()]
        elif waited:
            frames += [ack_frame(self.channel_id, tag, False) for tag in unsettled.overdue()]
            self._unsent_since = monotonic()
        if unsettled.untold:
            connection.wake_later()
        else:
            connection.unsent.discard(self)
        if frames:
            connection.write(b"".join(frames))

    def defer_message(self, message: Any, until: float) -> bool:
        """Let a delivered message wait in the broker and come to its queue again about `until` (since the epoch).

        A copy is published; when the broker has it, the delivery is acknowledged. False if that is not possible.
        """
        connection, tag = self._connected(), message.delivery_tag
        queue = self.queue_of(message.delivery_info.get("consumer_tag"))
        if self._cannot_wait or not queue or not connection.delays.can(queue):
            return False

        def then(taken: bool) -> None:
            if self.connection is None:
                return  # the broker has given the message to somebody else
            if taken:
                self.ack_many((tag,))
            else:
                self._cannot_wait = True
                log.warning("the broker did not take a message for later; such messages wait in the worker now")
                self.basic_reject(tag, requeue=True)

        try:
            connection.delays.send(later_copy(self, message), queue, until, then)
        except ChannelError as exc:
            self._cannot_wait = True
            log.warning("messages for later wait in the worker, not in the broker: %s", exc)
        return not self._cannot_wait

    def basic_reject(self, delivery_tag: int, requeue: bool, **kwargs: Any) -> Any:
        """Drop a delivery, or put it back."""
        self._unsettled.forget(delivery_tag)
        return super().basic_reject(delivery_tag, requeue, **kwargs)

    def basic_recover(self, requeue: bool = False) -> Any:
        """Put all unsettled deliveries back."""
        self._flush()
        self._unsettled = Unsettled()
        return super().basic_recover(requeue)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Send what waits, and close."""
        if self.is_open and self.connection is not None and self.connection.connected:
            self._flush()
        return super().close(*args, **kwargs)

    def collect(self) -> None:
        self._forget()
        super().collect()

    def _do_revive(self) -> None:
        self._forget()
        super()._do_revive()

    def _forget(self) -> None:
        """The broker has closed the channel: what was unsettled is in its queues again."""
        self._unsettled = Unsettled()
        if self.connection is not None:
            self.connection.unsent.discard(self)
            self.connection.drop_held(self)

    def _flush(self) -> None:
        if self.connection is not None and self.connection.collecting:
            self.connection.flush()

    def _connected(self) -> Connection:
        if self.connection is None:
            raise pyamqp.amqp.RecoverableConnectionError("connection already closed")
        return self.connection
