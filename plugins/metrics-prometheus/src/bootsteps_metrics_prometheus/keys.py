"""What both steps share: the address, and what the worker's lends to the consumer's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bootsteps import ServiceKey, Setting

__all__ = ["ADDRESS", "METRICS", "Sources"]


def _place(value: Any) -> str:
    """Return HOST:PORT; the host is loopback if only a port is named."""
    host, _, port = str(value).rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError("HOST:PORT or PORT is wanted")
    return f"{host or '127.0.0.1'}:{int(port)}"


ADDRESS = Setting[str | None](
    "worker_metrics_address",
    _place,
    None,
    flags=("--metrics-address",),
    help="answer /metrics for Prometheus on HOST:PORT; only PORT: on loopback; default: not",
)


class Sources:
    """What is asked at a scrape; replaced with each connection."""

    def __init__(self) -> None:
        #: The lengths of the queues by name; empty while there is no connection.
        self.lengths: Callable[[], Mapping[str, int]] = dict
        #: Queue names by routing key.
        self.queues: Mapping[str, str] = {}

    def queue_of(self, key: str) -> str:
        """Return the queue that a message came from, by its routing key."""
        return self.queues.get(key, key or "celery")


METRICS = ServiceKey[Sources]("metrics")
