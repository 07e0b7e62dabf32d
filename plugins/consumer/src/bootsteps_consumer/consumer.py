"""The consumer: consumes while there is a connection, and makes a new one when it breaks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from bootsteps import Hub, Parent, State, Timer
from bootsteps_consumer.reach import Reach, connected

__all__ = ["Consumer", "backoff_s"]

log = logging.getLogger("consumer")

#: A connection that lasted so long was a good one: after its loss the first attempt comes at once.
STEADY_S = 5.0


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait before attempt 1, 2, 3, ...: 0.2 s, doubling to at most 5 s.

    The limit is what lets a worker consume again within 5 s of the broker's restart.
    """
    return min(0.1 * float(2**attempt), 5.0)


class Consumer(Parent):
    """Runs the Consumer blueprint.

    Its attributes: `app`, `hostname`, `pid`, `controller`, `blueprint`, `steps`, and every service.
    """

    def __init__(
        self, worker: Parent, hub: Hub, timer: Timer, max_retries: int | None, first_retries: int | None
    ) -> None:
        """`max_retries` in a row when a connection breaks, `first_retries` before the first; None for ever."""
        super().__init__(worker.app, hostname=worker.hostname, options=worker.options, outer=worker)
        #: The worker that this consumer belongs to.
        self.controller = worker
        self.pid = os.getpid()
        self.restart_count = 0
        #: Seconds between two signs of life of the broker, 0 for none; and how often in that time it is looked for.
        self.amqheartbeat, self.amqheartbeat_rate = 0.0, 2.0
        self._hub = hub
        self._timer = timer
        self._max_retries = max_retries
        self._first_retries = first_retries
        self._attempts = 0
        self._next_attempt = 0.0
        self._connected_at = 0.0
        self._reach = Reach(hub, lambda: connected(self.app.connection()))  # type: ignore[attr-defined]
        self._asking = False
        self._answer: list[Exception | None] = []

    def start(self) -> None:
        """Try once to connect and start everything; a broker that is away is left to `run`."""
        self._try_to_start()

    def run(self, until: Callable[[], bool]) -> None:
        """Turn the loop until `until()`, connecting whenever there is no connection."""
        while not until():
            if self._connected():
                self._consume(until)
            elif self.blueprint.state is State.RUN and self._answer:
                self._go_on(self._answer.pop())
            else:
                if self.blueprint.state is State.RUN and not self._asking and time.monotonic() >= self._next_attempt:
                    self._asking = True
                    self._reach.ask(self._answer.append)
                self._hub.run_once()

    def _go_on(self, error: Exception | None) -> None:
        """The broker was asked whether it is there: this is what came of it."""
        self._asking = False
        if error is None:
            self._try_to_start()
        elif isinstance(error, self._losses()):
            self._retry_later(error)
        else:
            raise error

    def _connected(self) -> bool:
        return "Connection" in self.blueprint.started

    def _consume(self, until: Callable[[], bool]) -> None:
        try:
            self.blueprint.run(until)
        except self._losses() as exc:
            self._lose(exc)

    def _try_to_start(self) -> None:
        try:
            self.blueprint.start()
        except self._losses() as exc:
            self._retry_later(exc)
            return
        self._connected_at = time.monotonic()

    def _lose(self, exc: BaseException) -> None:
        """Stop what lives with the connection; the rest goes on."""
        url = _url(self)
        log.warning("connection to %s lost: %s", url, exc)
        self.hooks.announce("connection_lost", url=url, error=exc)
        self.blueprint.stop_with_dependants("Connection")
        self.restart_count += 1
        if time.monotonic() - self._connected_at > STEADY_S:
            self._attempts = 0
        else:  # a broker that lets us in and throws us out must not be asked without a pause
            self._pause()

    def _retry_later(self, exc: BaseException) -> None:
        limit = self._max_retries if self._connected_at else self._first_retries
        if limit is not None and self._attempts >= limit:
            raise exc
        log.warning("cannot connect to %s: %s; trying again in %.1f s", _url(self), exc, self._pause())

    def _pause(self) -> float:
        """Let some time pass before the next attempt, longer after each; return the seconds."""
        self._attempts += 1
        wait = backoff_s(self._attempts)
        self._next_attempt = time.monotonic() + wait
        self._timer.call_after(wait, lambda: None)  # wakes the loop
        return wait

    def _losses(self) -> tuple[type[BaseException], ...]:
        """The exceptions that mean a broken connection, as its transport says."""
        from kombu.exceptions import OperationalError

        connection = self.app.connection()  # type: ignore[attr-defined]
        return (OperationalError, ConnectionError, *connection.connection_errors, *connection.channel_errors)

    def __repr__(self) -> str:
        return f"<Consumer of {self.hostname}>"


def _url(consumer: Consumer) -> str:
    return str(consumer.app.connection().as_uri())  # type: ignore[attr-defined]
