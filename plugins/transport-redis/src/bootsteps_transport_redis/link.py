"""One connection to the server for commands that are answered at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from threading import RLock
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["Command", "Link", "pack", "pushed_together"]

#: A command and its arguments.
Command = Sequence[Any]


def pack(command: Command) -> bytes:
    """Return a command as the server reads it. Raises TypeError for an argument that is neither text, bytes nor number.

    redis-py does that in three times the time, and needs a connection for it.
    """
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        if isinstance(argument, str):
            argument = argument.encode()
        elif isinstance(argument, (int, float)) and type(argument) is not bool:
            argument = repr(argument).encode()
        elif not isinstance(argument, (bytes, bytearray, memoryview)):
            raise TypeError(f"an argument of a Redis command is text, bytes or a number, not {argument!r}")
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)


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

    redis-py's connection does sockets, TLS, authentication and parsing; its client, which costs as much again for each
    command, is left out. A connection that broke stays broken until the next command, which makes another.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None
        self._patience_s: float | None = None
        #: The server took a command and did not answer in time: it may be stopped, or cut off without a word.
        self.silent = False
        self._pid = 0
        self._lock = RLock()
        self._shas: dict[str, str] = {}

    def ping(self) -> None:
        """Check that there is a Redis at the other end, and that it is well. Raises `ConnectionError`."""
        answer = self.call("PING")
        if answer not in (b"PONG", "PONG"):
            raise RedisConnectionError(f"the server answered a PING with {answer!r}: is it a Redis?")

    def call(self, *command: Any) -> Any:
        """Return the answer to one command; an error that the server answers is raised."""
        with self._lock:
            connection = self._opened()
            try:
                connection.send_packed_command((pack(command),), check_health=False)
                answer = connection.read_response()
            except ResponseError:
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
                connection.send_packed_command((b"".join(map(pack, commands)),), check_health=False)
                answers = [self._answer(connection) for _ in commands]
            except BaseException as exc:
                self._drop(exc)
                raise
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    def script(self, text: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Return what a Lua script returns. The server gets its text once."""
        sha = self._shas.get(text)
        if sha is None:
            sha = self._shas[text] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        try:
            return self.call("EVALSHA", sha, len(keys), *keys, *arguments)
        except NoScriptError:  # a new server, or one that lost its scripts
            return self.call("EVAL", text, len(keys), *keys, *arguments)

    def now(self) -> float:
        """Return the server's clock: seconds since the epoch."""
        seconds, micros = self.call("TIME")
        return int(seconds) + int(micros) / 1_000_000

    def hurry(self, seconds: float) -> None:
        """From now on wait no longer than this for an answer."""
        self._patience_s = seconds
        if self._connection is not None:
            _limit(self._connection, seconds)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _opened(self) -> Any:
        pid = os.getpid()
        if pid != self._pid:
            # A forked child: the socket is the parent's, and redis-py closes our end of it only.
            self._drop()
            self._pid = pid
        if self._connection is None:
            self._connection = self._connected()
        return self._connection

    def _connected(self) -> Any:
        connection = self._connect()
        if self._patience_s is not None:
            connection.socket_timeout = connection.socket_connect_timeout = self._patience_s
        try:
            connection.connect()  # not left to the first command: by Sentinel that would go to the wrong place
        except RedisTimeoutError:
            self.silent = True
            raise
        return connection

    def _drop(self, error: BaseException | None = None) -> None:
        """Hang up: an answer may be on its way that nobody waits for."""
        self.silent = self.silent or isinstance(error, RedisTimeoutError)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    @staticmethod
    def _answer(connection: Any) -> Any:
        try:
            return connection.read_response()
        except ResponseError as exc:
            return exc


def _limit(connection: Any, seconds: float) -> None:
    connection.socket_timeout = seconds
    if connection._sock is not None:
        connection._sock.settimeout(seconds)
