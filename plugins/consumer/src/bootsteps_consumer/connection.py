"""The consumer step `Connection`."""

from __future__ import annotations

from typing import Any

from bootsteps import ConsumerView, KernelError, Step
from bootsteps_consumer.keys import CONNECTION
from bootsteps_consumer.reach import connected

__all__ = ["ConnectionStep"]


class ConnectionStep(Step):
    """Connects to the broker. Every other consumer step starts after it and restarts with it, but the independent."""

    name = "Connection"
    _told = False
    provides = (CONNECTION,)
    first = True

    def start(self, consumer: ConsumerView) -> None:
        connect = getattr(consumer.app, "connection", None)
        if connect is None:
            what = f"{consumer.app!r} has no connection to a broker"
            raise KernelError(what, (), "name an application with -A, e.g. one made of bootsteps_tasks.App")
        connection = connect()
        consumer.on_stop(lambda: _close(connection))
        connection.heartbeat = getattr(consumer, "amqheartbeat", 0.0)
        connected(connection)
        consumer.lend(CONNECTION, connection)
        url = connection.as_uri()
        consumer.log.info("Connected to %s", url)
        self._tell_of_the_embedded_one(consumer, url)
        consumer.hooks.announce("connection_established", url=url)

    def _tell_of_the_embedded_one(self, consumer: ConsumerView, url: str) -> None:
        """Say once where the work comes from when nobody named a broker: it must never be a guess."""
        tell = getattr(consumer.app, "broker_url", None)
        if tell is not None and tell()[1] and not self._told:
            consumer.log.warning("no broker is configured: using the embedded one, %s; fine for one machine", url)
            self._told = True

    def info(self, consumer: ConsumerView) -> dict[str, Any]:
        connection = consumer.get(CONNECTION)
        facts = {**connection.info(), "transport": connection.transport.driver_type}  # kombu's may be a class
        facts.pop("password", None)
        return {"broker": facts}


def _close(connection: Any) -> None:
    """Close without waiting for a peer that may be gone."""
    connection.collect()
