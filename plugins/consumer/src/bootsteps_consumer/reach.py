"""Whether the broker answers: found out beside the loop, which never waits for one that is silent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from bootsteps import Hub

__all__ = ["Reach", "connected"]


def connected(connection: Any) -> Any:
    """Connect a `kombu.Connection` and return it. Raises what is wrong."""
    # `connect()` would try twice with a nap of 2 s between.
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    return connection


class Reach:
    """Connects in a thread, hangs up, and tells the loop how it went.

    The connection itself is not handed over: not every client library lets another thread use what one has made.
    """

    def __init__(self, hub: Hub, connect: Callable[[], Any]) -> None:
        self._hub = hub
        self._connect = connect
        self._asked = 0

    def ask(self, then: Callable[[Exception | None], object]) -> None:
        """Call `then` in the loop, with None when the broker answered, else with what is wrong."""
        self._asked += 1
        threading.Thread(target=self._try, args=(self._asked, then), name="broker-reach", daemon=True).start()

    def forget(self) -> None:
        """What was asked is not told any more."""
        self._asked += 1

    def _try(self, number: int, then: Callable[[Exception | None], object]) -> None:
        try:
            self._connect().release()
        except Exception as exc:
            self._hub.call_soon(self._tell, number, then, exc)
        else:
            self._hub.call_soon(self._tell, number, then, None)

    def _tell(self, number: int, then: Callable[[Exception | None], object], error: Exception | None) -> None:
        if number == self._asked:
            then(error)
