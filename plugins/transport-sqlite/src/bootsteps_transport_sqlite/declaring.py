# mypy: disable-error-code="no-untyped-call"
"""The part of the kombu channel that declares exchanges, queues and bindings."""

from __future__ import annotations

from typing import Any, NoReturn
from uuid import uuid4

from amqp.exceptions import RecoverableConnectionError
from amqp.protocol import queue_declare_ok_t
from kombu.exceptions import ChannelError
from kombu.transport import base, virtual

from bootsteps_transport_sqlite.broker import Broker
from bootsteps_transport_sqlite.topology import Queue

__all__ = ["DeclaringChannel"]


class DeclaringChannel(virtual.Channel):
    """Declares in the broker file, where every process sees it."""

    _broker: Broker

    def exchange_declare(  # type: ignore[override]  # the rest is in kwargs
        self,
        exchange: str | None = None,
        type: str = "direct",  # kombu's name
        passive: bool = False,
        **kwargs: Any,
    ) -> None:
        """Declare an exchange. One of another type under the name is refused."""
        kind = type or "direct"
        name = exchange or f"amq.{kind}"
        if passive:
            if name not in self._broker.topology().exchanges:
                self._not_found("exchange", name, "exchange_declare")
            return
        if kind not in self.exchange_types:
            self._refuse("COMMAND_INVALID", 503, f"unknown exchange type {kind!r}", "exchange_declare")
        found = self._broker.declare_exchange(name, kind)
        if found != kind:
            self._refuse(
                "PRECONDITION_FAILED",
                406,
                f"exchange {name!r} is of type {found!r}, not {kind!r}",
                "exchange_declare",
            )

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        """Remove an exchange and its bindings."""
        if not (if_unused and self._broker.topology().bindings.get(exchange)):
            self._broker.delete_exchange(exchange)

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> queue_declare_ok_t:
        """Declare a queue; return its name, ready messages and consumers. The first declaration holds."""
        name = queue or f"amq.gen-{uuid4().hex}"
        if not passive and not self._broker.declare_queue(
            name, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments or {}
        ):
            self._refuse("RESOURCE_LOCKED", 405, f"queue {name!r} is another connection's own", "queue_declare")
        return queue_declare_ok_t(name, *self._broker.counts(self._queue(name, "queue_declare")))

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> int:
        """Remove a queue; return how many messages were ready in it."""
        found = self._broker.topology().queues.get(queue)
        if found is None:
            return 0
        ready, consumers = self._broker.counts(found)
        if (if_empty and ready) or (if_unused and consumers):
            return 0
        return self._broker.delete_queue(found)

    def queue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        """Bind a queue to an exchange."""
        name = exchange or "amq.direct"
        if name not in self._broker.topology().exchanges:
            self._not_found("exchange", name, "queue_bind")
        self._broker.bind(name, routing_key or "", self._queue(queue, "queue_bind"))

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        """Undo `queue_bind`."""
        found = self._broker.topology().queues.get(queue)
        if found is not None:
            self._broker.unbind(exchange or "amq.direct", routing_key or "", found)

    def prepare_queue_arguments(self, arguments: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Turn kombu's queue options (seconds) into RabbitMQ's arguments (milliseconds)."""
        prepared: dict[str, Any] = base.to_rabbitmq_queue_arguments(arguments, **kwargs)
        return prepared

    def queue_purge(self, queue: str, **kwargs: Any) -> int:
        """Remove what is ready; return how many."""
        return self._broker.purge(self._queue(queue, "queue_purge"))

    def list_bindings(self) -> list[tuple[str, str, str]]:
        """Return (queue, exchange, routing key) of every binding."""
        known = self._broker.topology().bindings
        return [(queue, exchange, key) for exchange, bound in sorted(known.items()) for key, queue in bound]

    def get_exchanges(self) -> list[str]:
        """Return the names of all exchanges."""
        return sorted(self._broker.topology().exchanges)

    def get_table(self, exchange: str) -> list[tuple[str, None, str]]:
        """Return (routing key, None, queue) of the bindings of an exchange."""
        return [(key, None, queue) for key, queue in self._broker.topology().bindings.get(exchange, [])]

    def _size(self, queue: str) -> int:
        return self._broker.counts(self._queue(queue, "queue_declare"))[0]

    def _queue(self, name: str, method: str) -> Queue:
        self._check_open()
        found = self._broker.topology().queues.get(name)
        if found is None:
            self._not_found("queue", name, method)
        return found

    def _check_open(self) -> None:
        if self.closed:
            raise RecoverableConnectionError("the channel is closed")

    def _not_found(self, kind: str, name: str, method: str) -> NoReturn:
        self._refuse("NOT_FOUND", 404, f"no {kind} {name!r}", method)

    def _refuse(self, reason: str, code: int, what: str, method: str) -> NoReturn:
        raise ChannelError(
            f"{reason} - {what} in {self._broker.store.place.database}",
            (0, 0),
            f"Channel.{method}",
            str(code),
        )
