# mypy: disable-error-code="no-untyped-call,misc"
"""Messages for later wait in the broker, in the queues that Celery's native delayed delivery has for that.

28 exchanges and queues `celery_delayed_<n>`: where the n-th of the 28 bits that a routing key begins with is 1, the
message waits for 2^n seconds in queue n; at 0 it passes on. At the end stands the exchange `celery_delayed_delivery`.
Each task queue that something waits for is bound there by its own name after any 28 words, so it gets nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound, RecoverableConnectionError
from kombu.transport.native_delayed_delivery import (
    CELERY_DELAYED_DELIVERY_EXCHANGE as DELIVERY,
)
from kombu.transport.native_delayed_delivery import (
    MAX_LEVEL,
    calculate_routing_key,
    level_name,
)

from bootsteps_transport_amqp.confirming import SILENT_S
from bootsteps_transport_amqp.writing import FRAME_OVERHEAD, Frames

if TYPE_CHECKING:
    from bootsteps_transport_amqp.connection import Connection

__all__ = ["WAITED", "Delays", "as_sent", "later_copy"]

#: The longest time in seconds; what is farther away comes earlier, and is sent on its way once more.
LONGEST_S = 2 ** (MAX_LEVEL + 1) - 1
#: How the exchanges are called that a message which has waited may come from: the last that it was sent to.
WAITED = "celery_delayed_"
#: Before the name of the queue: one word for each bit.
ANY_TIME = "*." * (MAX_LEVEL + 1)
#: The longest routing key in bytes.
LONGEST_KEY = 255
#: By this header a copy is recognised that no queue took.
MARK = "x-bootsteps-later"
#: Headers that belong to the way of a message through the queues. With those of RabbitMQ left in, it would take a
#: message that waits once more for one that goes round in circles, and drop it.
OF_THE_WAY = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", MARK)


class Delays:
    """Lets messages wait. One for each connection, with a channel of its own in confirm mode."""

    def __init__(self, connection: Connection, queue_type: str) -> None:
        self._connection = connection
        self._queue_type = queue_type
        self._channel: Any = None
        self._frames = Frames()
        self._bound: set[str] = set()
        self._number = 0
        #: What to call for each message that is not confirmed, with True when it waits now, False if it does not.
        self._open: dict[int, Callable[[bool], object]] = {}
        #: Not sent yet; the first of them is being dealt with.
        self._waiting: list[tuple[Any, str, float, Callable[[bool], object]]] = []

    def can(self, queue: str) -> bool:
        """Tell whether messages of this queue can wait: by its name."""
        return len(ANY_TIME) + len(queue.encode()) <= LONGEST_KEY

    def send(self, message: Any, queue: str, until: float, then: Callable[[bool], object]) -> None:
        """Let a message come to a queue about `until` (seconds since the epoch); `then` hears whether that worked.

        Raises what is wrong with the channel. While an answer is waited for others may be delivered, and sent here:
        they follow.
        """
        mine = message, queue, until, then
        self._waiting.append(mine)
        if len(self._waiting) > 1:
            return
        try:
            while self._waiting:
                self.prepare(self._waiting[0][1])
                self._put(*self._waiting[0])
                del self._waiting[0]
        except Exception:
            failed, self._waiting = self._waiting, []
            for _, _, _, others in failed if failed[0] is not mine else failed[1:]:
                others(False)
            if failed[0] is mine:
                raise

    def _put(self, message: Any, queue: str, until: float, then: Callable[[bool], object]) -> None:
        self._number += 1
        self._open[self._number] = then
        seconds = min(max(1, int(until - time.time())), LONGEST_S)
        headers = message.properties.get("application_headers") or {}
        message.properties["application_headers"] = {**headers, MARK: self._number}
        # Celery begins with the highest level, and each leading 0 is one exchange more to pass.
        way = level_name(seconds.bit_length() - 1), calculate_routing_key(seconds, queue)
        largest = self._connection.frame_max - FRAME_OVERHEAD
        self._connection.write(b"".join(self._frames.of(self._channel.channel_id, largest, message, *way, True)))

    def prepare(self, queue: str) -> None:
        """Make what is needed for messages of a queue, once."""
        if self._channel is None or self._channel.connection is None:
            self._open_channel()
        if queue not in self._bound:
            self._channel.queue_bind(queue, DELIVERY, ANY_TIME + queue)
            self._bound.add(queue)

    def _open_channel(self) -> None:
        self._bound.clear()
        there = self._is_there()
        self._channel = channel = self._connection.channel()
        self._number, self._open = 0, {}
        channel.confirm_select()
        declare(channel, None if there else self._queue_type)
        channel.events["basic_ack"].add(lambda tag, multiple: self._heard(tag, multiple, True))
        channel.events["basic_nack"].add(lambda tag, multiple: self._heard(tag, multiple, False))
        channel.events["basic_return"].add(self._returned)

    def _is_there(self) -> bool:
        """Tell whether the queues are there, of whatever type: somebody with other settings may have made them."""
        channel = self._connection.channel()
        try:
            channel.queue_declare(level_name(0), passive=True)
        except NotFound:
            return False
        finally:
            channel.close()
        return True

    def _heard(self, tag: int, multiple: bool, taken: bool) -> None:
        numbers = [number for number in self._open if number <= tag] if multiple else [tag]
        for number in numbers:
            then = self._open.pop(number, None)
            if then is not None:
                then(taken)

    def _returned(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        self._heard(message.headers[MARK], False, False)

    def wait(self) -> None:
        """Wait until all that was sent is confirmed."""
        deadline = time.monotonic() + SILENT_S
        while self._open:
            try:
                self._connection.drain_events(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError as exc:
                raise RecoverableConnectionError(f"no confirmation within {SILENT_S:g} s") from exc


def declare(channel: Any, queue_type: str | None) -> None:
    """Declare the exchanges and queues (no queues without a type: they are there) as Celery does."""
    for level in range(MAX_LEVEL, -1, -1):
        name, after = level_name(level), level_name(level - 1) if level else DELIVERY
        channel.exchange_declare(name, "topic", durable=True, auto_delete=False, nowait=True)
        if queue_type is not None:
            arguments = {
                "x-queue-type": queue_type,
                "x-overflow": "reject-publish",
                "x-message-ttl": 2**level * 1000,
                "x-dead-letter-exchange": after,
            }
            if queue_type == "quorum":
                arguments["x-dead-letter-strategy"] = "at-least-once"
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments, nowait=True)
            channel.queue_bind(name, name, "*." * (MAX_LEVEL - level) + "1.#", nowait=True)
    channel.exchange_declare(DELIVERY, "topic", durable=True, auto_delete=False, nowait=True)
    for level in range(MAX_LEVEL, -1, -1):
        after = level_name(level - 1) if level else DELIVERY
        channel.exchange_bind(after, level_name(level), "*." * (MAX_LEVEL - level) + "0.#", nowait=True)
    channel.queue_declare(level_name(0), passive=True)


def as_sent(headers: dict[str, Any]) -> dict[str, Any]:
    """Return the headers as they were before the message waited."""
    return {name: value for name, value in headers.items() if not name.startswith(OF_THE_WAY)}


def later_copy(channel: Any, message: Any) -> Any:
    """Return a copy of a delivered message to publish. It does not expire on the way; its `expires` header stays."""
    known = dict(message.properties or {})
    for name in ("expiration", "content_type", "content_encoding", "application_headers", "user_id"):
        known.pop(name, None)
    content = message.content_type, message.content_encoding, as_sent(message.headers or {})
    return channel.prepare_message(message.body, known.pop("priority", None), *content, known)
