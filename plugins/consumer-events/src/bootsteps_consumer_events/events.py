"""`app.events`: what monitors and producers use."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

from bootsteps_consumer_events.dispatcher import Dispatcher
from bootsteps_consumer_events.outlet import connect
from bootsteps_tasks.process import PerProcess

if TYPE_CHECKING:
    from bootsteps_consumer_events.receiver import Receiver
    from bootsteps_consumer_events.state import State
    from bootsteps_tasks import App
    from bootsteps_tasks.publisher import Sent

__all__ = ["Events"]

log = logging.getLogger("bootsteps.events")
#: A task, or whoever publishes one, waits so many seconds at most for the broker to take an event.
WAIT_S = 4.0


class Shared:
    """This process's connection for events of its own. Safe from any thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self.lock = RLock()

    def channel(self) -> Any:
        """Return the channel, made at the first call. Raises what the transport raises."""
        if self._channel is None:
            self._connection = connect(self._app, WAIT_S)
            self._channel = self._connection.channel()
        return self._channel

    def close(self) -> None:
        """Close; the next call of `channel` opens another."""
        with self.lock:
            connection, self._connection, self._channel = self._connection, None, None
            if connection is not None:
                with suppress(Exception):  # it may be broken
                    connection.collect()


class Events:
    """Makes receivers, dispatchers and states for one application."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._shared = PerProcess(lambda: Shared(app))

    @cached_property
    def Receiver(self) -> type[Receiver]:
        """Captures events: `Receiver(connection, handlers={"task-failed": fun, "*": fun}).capture()`."""
        from bootsteps_consumer_events.receiver import Receiver

        return type("Receiver", (Receiver,), {"app": self._app})

    @cached_property
    def Dispatcher(self) -> type[Dispatcher]:
        """Sends events: `Dispatcher(connection, hostname=...).send("my-event", colour="red")`."""
        return type("Dispatcher", (Dispatcher,), {"app": self._app})

    @cached_property
    def State(self) -> type[State]:
        """Knows workers and tasks by the events that it is handed: `State().event(event)`."""
        from bootsteps_consumer_events.state import State

        return type("State", (State,), {"app": self._app})

    @contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[Any]:
        """Lend a dispatcher on this process's connection for events, which is made at the first call and kept."""
        shared = self._shared.get()
        with shared.lock:
            channel = shared.channel()
            try:
                with self.Dispatcher(None, hostname, enabled, channel, buffer_while_offline) as dispatcher:
                    yield dispatcher
            except Exception:
                shared.close()  # it may be broken, and a new one costs little
                raise

    def tell(self, type: str, fields: Mapping[str, Any], hostname: str | None = None, retry: bool = True) -> None:
        """Send one event from this process; with `retry` once more if the connection was broken.

        Nobody's work fails since a monitor cannot be told: a broker that is away is logged. Raises kombu's
        `EncodeError` for fields that cannot be serialized.
        """
        from kombu.exceptions import SerializationError

        attempts = 2 if retry else 1
        for attempt in range(1, attempts + 1):
            try:
                with self.default_dispatcher(hostname) as dispatcher:
                    dispatcher.publish(type, fields, dispatcher.producer)
                return
            except SerializationError:
                raise
            except Exception as exc:
                if attempt == attempts:
                    log.warning("the event %s could not be sent: %s", type, self._app.mask_url(str(exc)))

    def sent(self, sent: Sent) -> None:
        """Send `task-sent` for a message that is published."""
        headers, route = sent.message.headers, sent.route
        names = ("root_id", "parent_id", "retries", "eta", "expires")
        fields = {"uuid": sent.message.id, "name": sent.message.task} | {name: headers.get(name) for name in names}
        fields |= {"args": headers.get("argsrepr"), "kwargs": headers.get("kwargsrepr")}
        queue = route.queue.name if route.queue is not None else None
        fields |= {"queue": queue, "exchange": route.exchange, "routing_key": route.routing_key}
        self.tell("task-sent", fields)

    def close(self) -> None:
        """Close this process's connection for events; it reopens when used."""
        shared = self._shared.drop()
        if shared is not None:
            shared.close()
