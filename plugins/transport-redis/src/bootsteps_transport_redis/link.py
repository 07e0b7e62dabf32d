"""One connection to the server for commands that are answered at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from threading import RLock
from typing import Any

from bootsteps_redis_wire.connection import Wire, exchange, run_script
from bootsteps_redis_wire.errors import ConnectionLost, Refused, ServerSilent
from bootsteps_redis_wire.wire import Command

__all__ = ["Link", "pushed_together"]


def pushed_together(commands: Sequence[Command]) -> list[Command]:
    """Make one command of those that push to one list after each other: it needs one answer, and leaves the same."""
    found: list[Command] = []
    for (name, key), same in groupby(commands, itemgetter(0, 1)):
        if name == "LPUSH":
            found.append((name, key, *map(itemgetter(2), same)))
        else:
            found += same
    return found


class Link:
    """Sends commands and waits for their answers, no longer than the socket's timeout. Safe from any thread.

    A connection that broke stays broken until the next command, which makes another.
    """

    def __init__(self, connect: Callable[[], Wire]) -> None:
        self._connect = connect
        self._connection: Wire | None = None
        self._patience_s: float | None = None
        #: The server took a command and did not answer in time: it may be stopped, or cut off without a word.
        self.silent = False
        self._pid = 0
        self._lock = RLock()

    def ping(self) -> None:
        """Check that there is a Redis at the other end, and that it is well. Raises `ConnectionError`."""
        answer = self.call("PING")
        if answer not in (b"PONG", "PONG"):
            raise ConnectionLost(f"the server answered a PING with {answer!r}: is it a Redis?")

    def call(self, *command: Any) -> Any:
        """Return the answer to one command; an error that the server answers is raised."""
        with self._lock:
            connection = self._opened()
            try:
                connection.send(command)
                answer = connection.receive()
            except Refused:
                raise
            except BaseException as exc:
                self._drop(exc)
                raise
            self.silent = False
            return answer

    def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers to commands that are sent together. The first error among them is raised."""
        with self._lock:
            connection = self._opened()
            try:
                answers = exchange(connection, commands)
            except BaseException as exc:
                self._drop(exc)
                raise
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return answers

    def script(self, text: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Return what a Lua script returns. The server gets its text once."""
        return run_script(self.call, text, keys, arguments)

    def now(self) -> float:
        """Return the server's clock: seconds since the epoch."""
        seconds, micros = self.call("TIME")
        return int(seconds) + int(micros) / 1_000_000

    def hurry(self, seconds: float) -> None:
        """From now on wait no longer than this for an answer."""
        self._patience_s = seconds
        if self._connection is not None:
            self._connection.limit(seconds)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _opened(self) -> Wire:
        pid = os.getpid()
        if pid != self._pid:
            # A forked child: the socket is the parent's, and only our end of it is closed.
            self._drop()
            self._pid = pid
        if self._connection is None:
            self._connection = self._connected()
        return self._connection

    def _connected(self) -> Wire:
        connection = self._connect()
        if self._patience_s is not None:
            connection.limit(self._patience_s)
        try:
            connection.connect()  # not left to the first command: by Sentinel that would go to the wrong place
        except ServerSilent:
            self.silent = True
            raise
        return connection

    def _drop(self, error: BaseException | None = None) -> None:
        """Hang up: an answer may be on its way that nobody waits for."""
        self.silent = self.silent or isinstance(error, ServerSilent)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
