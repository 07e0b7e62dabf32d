"""Hears events for as long as somebody wants to, over as many connections as that takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["watch"]

#: Seconds between two looks at whether something is due.
TICK_S = 0.2
#: Seconds before a broken connection is made anew.
AGAIN_S = 1.0


def watch(
    app: App,
    take: Callable[[dict[str, Any]], object],
    done: Callable[[], bool],
    *,
    tick: Callable[[], object] = lambda: None,
    on_open: Callable[[], object] = lambda: None,
    on_lost: Callable[[str], object] = lambda why: None,
) -> None:
    """Hand every event to `take` until `done()`, which is asked several times a second, as `tick` is called.

    A connection that breaks, or cannot be had, is made anew; `on_lost(why)` is called once for each time without one,
    `on_open()` when there is one (again).
    """
    from kombu.exceptions import OperationalError

    connection, attempts = app.connection(), 0
    while not done():
        try:
            with app.connection() as connection:
                connection.connect()
                attempts = 0
                _capture(app, connection, take, done, tick, on_open)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as exc:
            if not attempts:
                on_lost(app.mask_url(str(exc)))
            attempts += 1
            time.sleep(AGAIN_S)


def _capture(
    app: App, connection: Any, take: Callable[[dict[str, Any]], object], done: Callable[[], bool],
    tick: Callable[[], object], on_open: Callable[[], object],
) -> None:  # fmt: skip
    receiver = app.events.Receiver(connection, handlers={"*": take})
    with receiver.consumer_context() as (own, _, _):
        on_open()
        while not done():
            tick()
            with suppress(TimeoutError):
                own.drain_events(timeout=TICK_S)
