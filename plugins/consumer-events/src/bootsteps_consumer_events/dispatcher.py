"""Sends events, or keeps them for the time when there is a connection."""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet
from typing import TYPE_CHECKING, Any

from bootsteps_consumer_events.event import Event, exchange_for, group_from, routing_key_of, utcoffset
from bootsteps_consumer_events.settings import EXCHANGE, SERIALIZER

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["MOST_KEPT", "Dispatcher", "Groups"]

log = logging.getLogger("consumer.Events")
#: So many events are kept while there is no connection; then the oldest go.
MOST_KEPT = 10_000


class Groups(MutableSet[str]):
    """The groups of events that are sent; none means all. `on_change()` is called after each change."""

    def __init__(self, names: Iterable[str], on_change: Callable[[], object]) -> None:
        self._names = set(names)
        self._on_change = on_change

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def add(self, value: str) -> None:
        self._names.add(value)
        self._on_change()

    def discard(self, value: str) -> None:
        self._names.discard(value)
        self._on_change()

    def replace(self, names: Iterable[str]) -> None:
        """Let it be just these."""
        self._names = set(names)
        self._on_change()

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}"


class Dispatcher:
    """Sends events over a `kombu.Connection` or channel. Safe from any thread. A context manager that closes itself.

    The arguments are those of Celery's `app.events.Dispatcher`. Of `groups` alone events are sent, all if it is empty.
    Events of a group in `buffer_group` wait for `flush`, which sends them as one message, or for `buffer_limit` of
    them; `on_send_buffered()` is called when one begins to wait. While there is no connection up to `MOST_KEPT` events
    are kept if `buffer_while_offline`, else `send` raises.
    """

    app: App | None = None

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: App | None = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], object] | None = None,
    ) -> None:
        from bootsteps_tasks.encoding import origin

        self.app = app or self.app
        if self.app is None:
            raise TypeError("a dispatcher belongs to an application: app.events.Dispatcher(...), or app=")
        self.hostname = hostname or origin()
        self.connection = connection if connection or channel is None else channel.connection.client
        self.channel = channel
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.serializer = serializer or self.app.conf.get(SERIALIZER)
        self.delivery_mode = delivery_mode
        self.clock = self.app.clock
        self.headers = {"hostname": self.hostname}
        self.pid = os.getpid()
        self.exchange = exchange_for(self.connection or self.app.connection(), self.app.conf.get(EXCHANGE))
        #: Called when it is enabled or disabled.
        self.on_enabled: set[Callable[[], object]] = set()
        self.on_disabled: set[Callable[[], object]] = set()
        #: Called after any change of `enabled` or `groups`.
        self.on_change: Callable[[], object] = lambda: None
        #: Called with the exception when something could not be sent, and was kept.
        self.on_broken: Callable[[Exception], object] = lambda exc: None
        #: Called with the group when nobody heard a message; only some transports know.
        self.on_unheard: Callable[[str], object] = lambda group: None
        self.groups = Groups(groups or (), lambda: self.on_change())
        self._hushed: set[str] = set()
        self.mutex = threading.RLock()
        self.producer: Any = None
        self.enabled = False
        #: How many events were lost since too many had to be kept.
        self.dropped = 0
        self._kept: deque[tuple[Any, str]] = deque()
        self._kept_count = 0
        self._waiting: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        if enabled:
            self.enable()

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def wants(self, group: str) -> bool:
        """Tell whether events of a group are to be sent, if anybody listens."""
        return self.enabled and (not self.groups or group in self.groups)

    def sends(self, group: str) -> bool:
        """Tell whether events of a group are sent now; if not, they need not be made."""
        return self.wants(group) and group not in self._hushed

    def hush(self, group: str) -> None:
        """Send no events of a group until `wake`: nobody listens."""
        self._hushed.add(group)
        self.on_change()

    def wake(self) -> None:
        """Send all events that are wanted: somebody may listen now."""
        if self._hushed:
            self._hushed.clear()
            self.on_change()

    def enable(self) -> None:
        """Send from now on."""
        with self.mutex:
            self.enabled = True
            self._make_producer()
        self.on_change()
        for callback in list(self.on_enabled):
            callback()

    def disable(self) -> None:
        """Send nothing any more."""
        if self.enabled:
            for callback in list(self.on_disabled):
                callback()
            with self.mutex:
                self.enabled = False
                self.close()
            self.on_change()

    def attach(self, connection: Any, channel: Any) -> None:
        """Send over another connection from now on, what was kept first."""
        with self.mutex:
            self.connection, self.channel = connection, channel
            if self.enabled:
                self._make_producer()
        self.flush()

    def detach(self) -> None:
        """Keep what is sent, until `attach`."""
        with self.mutex:
            self.connection = self.channel = self.producer = None

    def close(self) -> None:
        """Send over this connection no more; the connection itself stays open."""
        with self.mutex:
            self.producer = None

    def _make_producer(self) -> None:
        from kombu import Producer

        outlet = self.channel or self.connection
        if outlet is not None:
            self.producer = Producer(outlet, exchange=self.exchange, serializer=self.serializer, auto_declare=False)

    def send(
        self,
        type: str,
        blind: bool = False,
        utcoffset: Callable[[], float] = utcoffset,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        Event: Callable[..., dict[str, Any]] = Event,
        **fields: Any,
    ) -> None:
        """Send an event with these fields, if it is enabled and the group wanted.

        `blind` leaves the logical clock out; with `retry` kombu tries again as the policy says.
        """
        group = group_from(type)
        if not self.sends(group):
            return
        with self.mutex:
            event = self._made(type, fields, blind and group not in self.buffer_group, Event, utcoffset)
            if group in self.buffer_group:
                self._wait(group, event)
            else:
                self._publish(event, self.producer, routing_key_of(type), retry, retry_policy)

    def publish(
        self,
        type: str,
        fields: Mapping[str, Any],
        producer: Any,
        blind: bool = False,
        Event: Callable[..., dict[str, Any]] = Event,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        utcoffset: Callable[[], float] = utcoffset,
    ) -> None:
        """Send an event by a `kombu.Producer` of your own, whatever the groups are."""
        with self.mutex:
            event = self._made(type, fields, blind, Event, utcoffset)
            self._publish(event, producer, routing_key_of(type), retry, retry_policy)

    def _made(
        self, type: str, fields: Mapping[str, Any], blind: bool, Event: Callable[..., Any], offset: Callable[[], float]
    ) -> dict[str, Any]:
        clock = None if blind else self.clock.forward()
        common = {"hostname": self.hostname, "utcoffset": offset(), "pid": self.pid, "clock": clock}
        found: dict[str, Any] = Event(type, **{**common, **fields})
        return found

    def _wait(self, group: str, event: dict[str, Any]) -> None:
        waiting = self._waiting[group]
        waiting.append(event)
        if len(waiting) >= self.buffer_limit:
            self.flush(errors=False)
        elif self.on_send_buffered is not None and len(waiting) == 1:
            self.on_send_buffered()

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what was kept (`errors`) and what waits to be sent together (`groups`)."""
        with self.mutex:
            if errors and self.producer is not None:
                kept, self._kept, self._kept_count = self._kept, deque(), 0
                for payload, routing_key in kept:
                    self._post(payload, routing_key)
            if groups:
                for group, waiting in self._waiting.items():
                    if waiting:
                        self._waiting[group] = []
                        self._post(waiting, f"{group}.multi")

    def _post(self, payload: Any, routing_key: str) -> None:
        """Send what waited; an event that cannot be serialized is left out, and whoever sent it is long gone."""
        try:
            self._publish(payload, self.producer, routing_key)
        except Exception as exc:
            if not _is_at_fault(exc):
                raise
            if not isinstance(payload, list):
                log.error("an event cannot be sent: %s (%.200r)", exc, payload)
                return
            for event in payload:
                self._post(event, routing_key_of(event["type"]))

    def extend_buffer(self, other: Dispatcher) -> None:
        """Keep also what another one has kept."""
        with self.mutex:
            for payload, routing_key in list(other._kept):
                self._keep(payload, routing_key)

    def _publish(
        self, payload: Any, producer: Any, routing_key: str, retry: bool = False, retry_policy: Any = None
    ) -> None:
        if producer is None:
            self._keep(payload, routing_key)
            return
        try:
            producer.publish(
                payload,
                routing_key=routing_key,
                exchange=self.exchange.name,
                retry=retry,
                retry_policy=retry_policy,
                declare=[self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
            )
        except Exception as exc:
            if not self.buffer_while_offline or _is_at_fault(exc):
                raise
            self._keep(payload, routing_key)
            if producer is self.producer:
                self.producer = None  # or each further event would try, and wait
                self.on_broken(exc)
        else:
            if getattr(self.channel, "heard_by", None) == 0:
                self.on_unheard(routing_key.partition(".")[0])

    def _keep(self, payload: Any, routing_key: str) -> None:
        if not self.buffer_while_offline:
            return
        self._kept.append((payload, routing_key))
        self._kept_count += _count(payload)
        while self._kept_count > MOST_KEPT:
            lost = _count(self._kept.popleft()[0])
            if not self.dropped:
                log.warning("more than %d events wait for a connection: the oldest are dropped", MOST_KEPT)
            self._kept_count -= lost
            self.dropped += lost


def _count(payload: Any) -> int:
    return len(payload) if isinstance(payload, list) else 1


def _is_at_fault(exc: Exception) -> bool:
    """Tell whether it is the event that cannot be sent, and will not be later."""
    from kombu.exceptions import SerializationError

    return isinstance(exc, SerializationError)
