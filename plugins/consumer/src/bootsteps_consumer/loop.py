"""The consumer step `event loop`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from bootsteps import HUB, ConsumerView, Hub, Step
from bootsteps_consumer.keys import CONNECTION

__all__ = ["EventLoop"]

#: How long a transport without file descriptors may wait for a message while the loop has other things to do.
BLOCK_S = 0.05


class EventLoop(Step):
    """Lets the connection speak to the hub, and turns it."""

    name = "event loop"
    requires = (CONNECTION, HUB)
    last = True

    def start(self, consumer: ConsumerView) -> None:
        connection, hub = consumer.get(CONNECTION), consumer.get(HUB)
        if connection.transport.implements.asynchronous:
            consumer.on_stop(_undo_registration(hub))
            connection.register_with_event_loop(hub)

    def run(self, consumer: ConsumerView, until: Callable[[], bool]) -> None:
        connection, hub = consumer.get(CONNECTION), consumer.get(HUB)
        if not connection.transport.implements.asynchronous:
            _run_blocking(connection, hub, until)
            return
        while not until():
            hub.run_once()


def _undo_registration(hub: Any) -> Callable[[], None]:
    """Return a function that takes away whatever is added to the hub from now on.

    Transports register under descriptors and ticks of their own choice and do not all take them away again.
    """
    fds, ticks = set(hub.readers) | set(hub.writers), set(hub.on_tick)

    def undo() -> None:
        for fd in (set(hub.readers) | set(hub.writers)) - fds:
            hub.remove(fd)
        hub.on_tick.intersection_update(ticks)

    return undo


def _run_blocking(connection: Any, hub: Hub, until: Callable[[], bool]) -> None:
    """Take turns between a transport that can only block and the hub, which must then not sleep."""
    ready, signal = socket.socketpair()
    signal.send(b"1")
    hub.add_reader(ready, lambda: None)  # always readable: the hub never waits
    try:
        while not until():
            hub.run_once()
            try:
                connection.drain_events(timeout=BLOCK_S)
            except TimeoutError:
                continue
    finally:
        hub.remove(ready)
        ready.close()
        signal.close()
