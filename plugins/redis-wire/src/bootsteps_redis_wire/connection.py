"""A connection to a server by TCP or a local socket, in the clear."""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, Protocol

from bootsteps_redis_wire.errors import ConnectionLost, NoScript, NotAdmitted, RedisError, Refused, ServerSilent
from bootsteps_redis_wire.wire import Command, Reader, pack

__all__ = ["Address", "Connection", "Wire", "exchange", "run_script", "script_name"]


class Wire(Protocol):
    """What is wanted of a connection. One that broke is thrown away. For one thread at a time."""

    @property
    def socket(self) -> Any:
        """The socket, for who waits; None while there is none."""

    def connect(self) -> None:
        """Connect and be let in. Raises `ConnectionLost`."""

    def send(self, *commands: Command) -> None:
        """Send commands in one write. Raises `ConnectionLost`."""

    def receive(self) -> Any:
        """Wait for the next answer. Raises `Refused` if it is an error, `ConnectionLost` if there is none."""

    def readable(self, timeout: float = 0.0) -> bool:
        """Tell whether something has come, or comes within so many seconds."""

    def limit(self, seconds: float) -> None:
        """From now on wait no longer than this."""

    def close(self) -> None:
        """Hang up."""


class Address(NamedTuple):
    """Where a server is, and how to be let in."""

    host: str
    port: int
    #: Of a local socket, instead of host and port.
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None
    client_name: str | None = None
    #: Seconds to wait for an answer, and for a connection; None = without end.
    timeout: float | None = None
    connect_timeout: float | None = None
    keepalive: bool = False
    #: Of TCP's level, by number.
    keepalive_options: Mapping[int, Any] = {}

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Connection:
    """Implements `Wire`."""

    def __init__(self, address: Address, protocol: int = 2) -> None:
        self._address, self._protocol = address, protocol
        self._timeout, self._connect_timeout = address.timeout, address.connect_timeout
        self._pid = os.getpid()
        self._reader = Reader(self._some)
        self.socket: socket.socket | None = None
        #: Of the socket.
        self._incoming: select.poll

    def connect(self) -> None:
        """Connect, say who we are, choose the database."""
        try:
            self.socket = self._opened()
        except OSError as exc:
            kind = ServerSilent if isinstance(exc, TimeoutError) else ConnectionLost
            raise kind(f"{self._address} cannot be reached: {exc.strerror or exc}") from exc
        self._incoming = select.poll()
        self._incoming.register(self.socket, select.POLLIN)
        greeting = self._greeting()
        if not greeting:
            return
        try:
            self.send(*greeting)
            for _ in greeting:
                self.receive()
        except Refused as exc:
            self.close()
            raise NotAdmitted(f"{self._address} does not let us in: {exc}") from exc
        except RedisError:
            self.close()
            raise

    def _opened(self) -> socket.socket:
        where = self._address
        if where.path is not None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(self._connect_timeout)
            made.connect(where.path)
        else:
            # As bytes: for a text Python imports the tables of IDNA and of Unicode, which are half a megabyte.
            host: Any = where.host.encode() if where.host.isascii() else where.host
            made = socket.create_connection((host, where.port), self._connect_timeout)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if where.keepalive:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in where.keepalive_options.items():
                    made.setsockopt(socket.IPPROTO_TCP, option, value)
        made.settimeout(self._timeout)
        return made

    def _greeting(self) -> list[Command]:
        where = self._address
        words: list[Command] = []
        if self._protocol != 2:
            credentials = ("AUTH", where.username or "default", where.password or "") if self._locked else ()
            words.append(("HELLO", self._protocol, *credentials))
        elif self._locked:
            words.append(("AUTH", *([where.username] if where.username else []), where.password or ""))
        if where.client_name:
            words.append(("CLIENT", "SETNAME", where.client_name))
        if where.db:
            words.append(("SELECT", where.db))
        return words

    @property
    def _locked(self) -> bool:
        return bool(self._address.username or self._address.password)

    def send(self, *commands: Command) -> None:
        """Send commands in one write."""
        data = pack(commands)
        try:
            self._open_socket().sendall(data)
        except OSError as exc:
            raise self._lost(exc) from exc

    def receive(self) -> Any:
        """Wait for the next answer."""
        answer = self._reader.read()
        if isinstance(answer, RedisError):
            raise answer
        return answer

    def readable(self, timeout: float = 0.0) -> bool:
        """Tell whether something has come, or comes within so many seconds."""
        if self._reader.buffered:
            return True
        self._open_socket()
        return bool(self._incoming.poll(math.ceil(timeout * 1000)))

    def limit(self, seconds: float) -> None:
        """From now on wait no longer than this."""
        self._timeout = self._connect_timeout = seconds
        if self.socket is not None:
            self.socket.settimeout(seconds)

    def close(self) -> None:
        """Hang up; in a forked child close our end only, since the socket is the parent's."""
        closed, self.socket = self.socket, None
        if closed is not None:
            with suppress(OSError):
                if os.getpid() == self._pid:
                    closed.shutdown(socket.SHUT_RDWR)
            closed.close()

    def _some(self, most: int) -> bytes:
        try:
            return self._open_socket().recv(most)
        except OSError as exc:
            raise self._lost(exc) from exc

    def _open_socket(self) -> socket.socket:
        if self.socket is None:
            raise ConnectionLost(f"the connection to {self._address} is closed")
        return self.socket

    def _lost(self, exc: OSError) -> ConnectionLost:
        if isinstance(exc, TimeoutError):
            return ServerSilent(f"{self._address} did not answer within {self._timeout:g} s")
        return ConnectionLost(f"the connection to {self._address} broke: {exc.strerror or exc}")


def exchange(connection: Wire, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one write and return their answers; those that are errors are among them.

    Raises `ConnectionLost`, and then nobody knows which of them were done.
    """
    connection.send(*commands)
    return [_answer(connection) for _ in commands]


def _answer(connection: Wire) -> Any:
    try:
        return connection.receive()
    except Refused as exc:
        return exc


def run_script(call: Callable[..., Any], text: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """Return what a Lua script returns; `call` returns the answer to one command. The server gets the text once."""
    try:
        return call("EVALSHA", script_name(text), len(keys), *keys, *arguments)
    except NoScript:  # a new server, or one that lost its scripts
        return call("EVAL", text, len(keys), *keys, *arguments)


@cache
def script_name(text: str) -> str:
    """Return the name under which a server knows a Lua script that it has run."""
    try:  # hashlib's is OpenSSL's, of whose tables each process would have its own: 1 MiB
        from _sha1 import sha1  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from hashlib import sha1

    name: str = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return name
