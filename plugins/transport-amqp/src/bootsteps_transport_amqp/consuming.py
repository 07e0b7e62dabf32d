# mypy: disable-error-code="no-untyped-call,misc,override"
"""The part of the channel that consumes: prefetch limits that can change, also those of single consumers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from amqp import spec
from kombu.transport import pyamqp

if TYPE_CHECKING:
    from bootsteps_transport_amqp.connection import Connection

__all__ = ["Consuming"]

#: A limit of single consumers is changed if it is so many times too small or too large: they are made anew for that.
WORTH_IT = 2
#: Tags of consumers that are gone, and of which something may be held, are remembered so many.
REMEMBERED = 1000


class Subscription(NamedTuple):
    """A consumer, which may be made anew under another tag."""

    queue: str
    no_ack: bool
    callback: Callable[[Any], object] | None
    #: It stays as it is: it has options that it might lose to another consumer meanwhile.
    fixed: bool


class Consuming(pyamqp.Channel):
    """What a channel does with its consumers."""

    connection: Connection | None

    def __init__(self, connection: Connection, *args: Any, **kwargs: Any) -> None:
        #: By the tag that is known to who consumes.
        self._subscriptions: dict[str, Subscription] = {}
        #: From that tag to the one that the broker knows now.
        self._present: dict[str, str] = {}
        #: The queues by tag, also by those that were used before: what is delivered late has one that is gone.
        self._queues: dict[str, str] = {}
        self._limit = 0
        self._serial = count(2)
        super().__init__(connection, *args, **kwargs)

    def queue_of(self, consumer: str) -> str:
        """Return the name of the queue that a consumer consumes from."""
        return self._queues.get(consumer, "")

    def basic_consume(
        self, queue: str = "", consumer_tag: str = "", no_local: bool = False, no_ack: bool = False,
        exclusive: bool = False, nowait: bool = False, callback: Any = None, arguments: Any = None,
        on_cancel: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Deliver the messages of a queue."""
        tag = super().basic_consume(
            queue, consumer_tag, no_local, no_ack, exclusive, nowait, callback, arguments, on_cancel, **kwargs
        )
        fixed = bool(exclusive or no_ack or arguments or on_cancel)
        self._subscriptions[tag] = Subscription(queue, no_ack, callback, fixed)
        self._queues[tag] = queue
        return tag

    def basic_cancel(self, consumer_tag: str, nowait: bool = False, **kwargs: Any) -> Any:
        """Stop a consumer; it gets what came before the broker's answer, and what it has not settled stays its own."""
        self._subscriptions.pop(consumer_tag, None)
        answer = super().basic_cancel(self._present.pop(consumer_tag, consumer_tag), nowait, **kwargs)
        if self.connection is not None:
            self.connection.deliver_held()
        return answer

    def basic_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool, **kwargs: Any) -> Any:
        """Set how many deliveries may be unsettled; 0 is no limit. On a loop the answer is not waited for.

        A limit that is not for the whole channel the broker heeds for consumers to come only. So on a loop those that
        there are get anew, if it is worth it.
        """
        if self.connection is None or not self.connection.collecting:
            self._limit = prefetch_count
            return super().basic_qos(prefetch_size, prefetch_count, a_global, **kwargs)
        if a_global or not self._subscriptions:
            self._limit = prefetch_count
            return self._send_qos(prefetch_size, prefetch_count, a_global)
        small, large = sorted((self._limit, prefetch_count))
        if small == 0 < large or large >= WORTH_IT * small > 0:
            self._limit = prefetch_count
            self._send_qos(prefetch_size, prefetch_count, a_global)
            self._consume_anew()
        return None

    def _send_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool) -> Any:
        return self.send_method(spec.Basic.Qos, "lBb", (prefetch_size, prefetch_count, a_global))

    def _consume_anew(self) -> None:
        """Cancel consumers and make the same again; what is delivered meanwhile is taken as before."""
        for tag, it in self._subscriptions.items():
            if it.fixed:
                continue
            before, after = self._present.get(tag, tag), f"{tag}~{next(self._serial)}"
            self.send_method(spec.Basic.Cancel, "sb", (before, False))  # its callback goes with the answer
            super().basic_consume(it.queue, after, nowait=True, callback=it.callback)
            self._present[tag], self._queues[after] = after, it.queue
        if len(self._queues) > REMEMBERED:
            self._forget_tags()

    def _forget_tags(self) -> None:
        """Forget the older half of the tags; not those of consumers that there are."""
        used = {*self._subscriptions, *self._present.values()}
        for tag in [tag for tag in list(self._queues)[: REMEMBERED // 2] if tag not in used]:
            del self._queues[tag]

    def _do_revive(self) -> None:
        self._subscriptions.clear()
        self._present.clear()
        self._queues.clear()
        super()._do_revive()
