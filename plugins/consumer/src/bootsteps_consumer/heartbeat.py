"""Heartbeats of the protocol (AMQP): how a broker that went without a word is found out."""

from __future__ import annotations

from time import monotonic
from typing import Any

from bootsteps import POOL, Setting, WorkerView

__all__ = ["HEARTBEAT", "RATE", "heartbeat_of", "keep"]

HEARTBEAT = Setting[float | None](
    "broker_heartbeat", float, None, unit="s", flags=(),
    help="how often the broker is to give a sign of life (RabbitMQ); 0: never; default: 5, or never if the pool runs "
    "tasks in the worker's loop, which gives none meanwhile",
)  # fmt: skip
RATE = Setting[float](
    "broker_heartbeat_checkrate", float, 2.0, flags=(), help="how often in that time signs of life are sent and sought"
)
#: Two of them without a sign, and the time to connect, are less than the 15 s that are promised.
DEFAULT_S = 5.0


def heartbeat_of(worker: WorkerView) -> float:
    """Return the seconds between two heartbeats, 0 for none."""
    wanted = worker.setting(HEARTBEAT)
    if wanted is not None:
        return wanted
    return 0.0 if getattr(worker.get(POOL, None), "runs_in_loop", False) else DEFAULT_S


class _Check:
    """Called at each turn of the loop; raises what means a broken connection."""

    def __init__(self, connection: Any, every_s: float, rate: float) -> None:
        self._connection = connection
        self._every_s = every_s
        self._rate = rate
        self._due = monotonic() + every_s

    def __call__(self) -> None:
        if monotonic() >= self._due:
            self._due = monotonic() + self._every_s
            self._connection.heartbeat_check(rate=self._rate)


def keep(connection: Any, hub: Any, rate: float) -> None:
    """Keep the heartbeat that was agreed on with the broker, if any; `hub` may be one that only takes notes."""
    wanted = getattr(connection, "heartbeat", 0) and connection.supports_heartbeats
    agreed_s = connection.get_heartbeat_interval() if wanted else 0
    if agreed_s:
        every_s = agreed_s / max(rate, 1.0)
        hub.on_tick.add(_Check(connection, every_s, rate))
        hub.call_repeatedly(every_s, lambda: None)  # wakes the loop
