"""The consumer step `event loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bootsteps import HUB, ConsumerView, Hub, Step
from bootsteps_consumer.heartbeat import keep
from bootsteps_consumer.keys import CONNECTION
from bootsteps_consumer.registrar import Registrar

__all__ = ["EventLoop"]

#: How long a transport without file descriptors may wait for a message while the loop has other things to do.
BLOCK_S = 0.05


class EventLoop(Step):
    """Lets the connection, and the steps that want it, speak to the hub; and turns it.

    A step of either blueprint that has `register_with_event_loop(parent, hub)` is called whenever the loop is entered
    with a new connection, the last started first; what it adds to that hub is taken away when the connection breaks.
    """

    name = "event loop"
    requires = (CONNECTION, HUB)
    last = True

    def start(self, consumer: ConsumerView) -> None:
        connection = consumer.get(CONNECTION)
        hub = Registrar(consumer.get(HUB))
        consumer.on_stop(hub.undo)
        with hub.noting_ticks():
            if connection.transport.implements.asynchronous:
                connection.register_with_event_loop(hub)
            keep(connection, hub, getattr(consumer, "amqheartbeat_rate", 2.0))
            for parent in (consumer, getattr(consumer, "controller", None)):
                if parent is not None:
                    parent.blueprint.send_all("register_with_event_loop", hub)

    def run(self, consumer: ConsumerView, until: Callable[[], bool]) -> None:
        connection, hub = consumer.get(CONNECTION), consumer.get(HUB)
        if not connection.transport.implements.asynchronous:
            _run_blocking(connection, hub, until)
            return
        while not until():
            hub.run_once()


def _run_blocking(connection: Any, hub: Hub, until: Callable[[], bool]) -> None:
    """Take turns between a transport that can only block and the hub, which must then not sleep."""
    import socket

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
