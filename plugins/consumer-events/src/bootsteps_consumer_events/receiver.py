# mypy: disable-error-code="misc, no-untyped-call"
# kombu has no types.
"""Captures events of all workers and clients of a broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kombu import Queue
from kombu.connection import maybe_channel
from kombu.mixins import ConsumerMixin

from bootsteps import SettingError
from bootsteps_consumer_events.event import exchange_for
from bootsteps_consumer_events.settings import (
    EXCHANGE,
    QUEUE_DURABLE,
    QUEUE_EXCLUSIVE,
    QUEUE_EXPIRES,
    QUEUE_PREFIX,
    QUEUE_TTL,
    SERIALIZER,
)
from bootsteps_tasks.control import broadcast

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["Receiver"]


class Receiver(ConsumerMixin):
    """Hands every event to `handlers[type]`, or else to `handlers["*"]`.

    The arguments are those of Celery's `app.events.Receiver`; `channel` may be a connection. One thread at a time.
    """

    app: App | None = None

    def __init__(
        self,
        channel: Any,
        handlers: Mapping[str, Callable[[dict[str, Any]], object]] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: App | None = None,
        queue_prefix: str | None = None,
        accept: Collection[str] | None = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:
        found = app or self.app
        if found is None:
            raise TypeError("a receiver belongs to an application: app.events.Receiver(...), or app=")
        self.app, conf = found, found.conf
        self.channel = maybe_channel(channel)
        self.handlers: Mapping[str, Callable[[dict[str, Any]], object]] = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or str(uuid4())
        self.queue_prefix = queue_prefix or conf.get(QUEUE_PREFIX)
        self.exchange = exchange_for(self.connection, conf.get(EXCHANGE))
        self.accept = {conf.get(SERIALIZER), "json"} if accept is None else accept
        self.clock = found.clock
        self.adjust_clock, self.forward_clock = self.clock.adjust, self.clock.forward
        exclusive = conf.get(QUEUE_EXCLUSIVE) if queue_exclusive is None else queue_exclusive
        durable = conf.get(QUEUE_DURABLE) if queue_durable is None else queue_durable
        if exclusive and durable:
            what = "a monitor's queue cannot be exclusive and durable"
            raise SettingError(what, ("event_queue_durable", "event_queue_exclusive"), "event_queue_exclusive = False")
        self.queue = Queue(
            f"{self.queue_prefix}.{self.node_id}",
            exchange=self.exchange,
            routing_key=routing_key,
            auto_delete=not durable,
            durable=durable,
            exclusive=exclusive,
            message_ttl=conf.get(QUEUE_TTL) if queue_ttl is None else queue_ttl,
            expires=conf.get(QUEUE_EXPIRES) if queue_expires is None else queue_expires,
        )

    @property
    def connection(self) -> Any:
        """The connection of its channel."""
        return self.channel.connection.client

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Handle `limit` messages (default: for ever; until `should_stop` is True).

        Raises TimeoutError after `timeout` seconds without one. `wakeup` asks all workers for a heartbeat at the start.
        """
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[object]:
        """As `capture`, yielding whenever something may have come."""
        found: Iterator[object] = self.consume(limit=limit, timeout=timeout, wakeup=wakeup)
        return found

    def get_consumers(self, Consumer: Any, channel: Any) -> Sequence[Any]:
        """See `kombu.mixins.ConsumerMixin`."""
        return [Consumer(queues=[self.queue], callbacks=[self._receive], no_ack=True, accept=self.accept)]

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, wakeup: bool = True, **kwargs: Any
    ) -> None:
        """See `kombu.mixins.ConsumerMixin`."""
        if wakeup:
            self.wakeup_workers()

    def wakeup_workers(self, channel: Any = None) -> None:
        """Ask all workers for a heartbeat, and those that pause since nobody listened to go on."""
        assert self.app is not None
        broadcast(self.app, "heartbeat")

    def process(self, type: str, event: dict[str, Any]) -> None:
        """Hand an event to its handler, if there is one."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def event_from_message(
        self, body: dict[str, Any], localize: bool = True, now: Callable[[], float] = time.time
    ) -> tuple[str, dict[str, Any]]:
        """Return the type and the event, with `local_received` and a `clock` that this process's is set by.

        Celery's moves the timestamp by the distance of time zones, though it is in seconds since the epoch everywhere;
        this one leaves it, so `localize` has no effect.
        """
        clock = body.get("clock")
        if body["type"] == "task-sent":  # clients have no clock that anybody set
            body["clock"] = clock = (self.clock.value or 1) - 1
        if clock is None:
            body["clock"] = self.forward_clock()
        else:
            self.adjust_clock(clock)
        body["local_received"] = now()
        return body["type"], body

    def _receive(self, body: Any, message: Any) -> None:
        for event in body if isinstance(body, list) else (body,):
            if isinstance(event, dict) and isinstance(event.get("type"), str):  # anybody may write to the exchange
                self.process(*self.event_from_message(event))
