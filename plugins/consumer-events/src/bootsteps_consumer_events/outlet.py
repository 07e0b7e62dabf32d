"""The worker's connection for events: made anew when it breaks, and never waited for long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from bootsteps import Hub, Timer, TimerEntry
from bootsteps_consumer import SideConnection
from bootsteps_consumer_events.dispatcher import Dispatcher

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["LISTEN_AGAIN_S", "WAIT_S", "Outlet", "connect"]

log = logging.getLogger("consumer.Events")
#: The longest that the loop stands still for a broker that does not answer, in seconds.
WAIT_S = 2.0
#: Seconds after which events of tasks are sent again, to see whether somebody listens by now.
LISTEN_AGAIN_S = 1.0


def connect(app: App, wait_s: float) -> Any:
    """Return a connection on which nothing waits longer than this. Raises what the transport raises."""
    connection = app.connection()
    connection.connect_timeout = min(connection.connect_timeout or wait_s, wait_s)
    limits = {"amqp": ("read_timeout", "write_timeout"), "redis": ("socket_timeout", "socket_connect_timeout")}
    for option in limits.get(connection.transport.driver_type, ()):
        connection.transport_options.setdefault(option, wait_s)
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    return connection


class Outlet:
    """Connects a dispatcher, on a connection of its own. Loop thread only.

    RabbitMQ blocks a connection that publishes when it is short of memory or disk: tasks must not stand behind that.
    """

    def __init__(self, app: App, dispatcher: Dispatcher, hub: Hub, timer: Timer) -> None:
        self._dispatcher = dispatcher
        self._hub = hub
        self._timer = timer
        self._side = SideConnection(
            hub, timer, log, "events", lambda: connect(app, WAIT_S),
            lambda connection: dispatcher.attach(connection, connection.channel()), dispatcher.detach, listens=False,
        )  # fmt: skip
        self._flushing = False
        self._quiet: TimerEntry | None = None
        dispatcher.on_broken = self._on_broken
        dispatcher.on_unheard = self._on_unheard
        dispatcher.on_send_buffered = self._on_waiting

    def open(self) -> None:
        """Connect and send what was kept; a broker that is away is tried again later."""
        self._side.open()

    def close(self, flush: bool) -> None:
        """Disconnect; `flush` sends first what waits."""
        if flush:
            self._dispatcher.flush()
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        self._dispatcher.wake()
        self._side.close()

    def _on_waiting(self) -> None:
        """Events wait to be sent together: send them when this turn of the loop is over."""
        if not self._flushing:
            self._flushing = True
            self._hub.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._dispatcher.flush(errors=False)

    def _on_unheard(self, group: str) -> None:
        if group == "task":  # the others are few, and the next heartbeat may be heard
            self._hub.call_soon(self._hush, group)

    def _hush(self, group: str) -> None:
        """Let tasks pay nothing for a while. A monitor that comes asks for a heartbeat, which ends that at once."""
        if self._quiet is None and self._side.is_open:
            self._dispatcher.hush(group)
            self._quiet = self._timer.call_after(LISTEN_AGAIN_S, self._listen)

    def _listen(self) -> None:
        self._quiet = None
        self._dispatcher.wake()

    def _on_broken(self, exc: Exception) -> None:
        self._hub.call_soon(self._side.fail, exc)  # it may have been another thread that sent
