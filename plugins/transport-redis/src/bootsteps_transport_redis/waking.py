"""Learning that a queue is no longer empty, without taking anything from it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from bootsteps_redis_wire.connection import Wire
from bootsteps_redis_wire.errors import ConnectionLost, Refused
from bootsteps_redis_wire.wire import pack

__all__ = ["Waker"]

logger = logging.getLogger(__name__)


class Waker:
    """Sleeps for a consumer on a connection of its own.

    The server remembers what that connection read (`CLIENT TRACKING`, Redis 6) and tells it, once, that it changed: so
    `EXISTS` on all lists of all queues is both the question whether there is something and the order to be woken. A
    blocking pop would wake as fast, but take a message that dies with us before it is registered.
    """

    def __init__(self, connect: Callable[[], Wire], patience_s: float) -> None:
        self._connect = connect
        self._patience_s = patience_s
        self._connection: Wire | None = None
        self._socket: Any = None
        self._asked_at: float | None = None
        self._keys: Sequence[str] = ()
        #: The server cannot wake us: look from time to time.
        self.blind = False

    @property
    def armed(self) -> bool:
        """It will wake us."""
        return bool(self._keys)

    def fileno(self) -> int | None:
        """Return what becomes readable when it is time to wake up."""
        return None if self._socket is None else int(self._socket.fileno())

    def arm(self, keys: Sequence[str]) -> None:
        """Wake once any of these keys exists."""
        if self._connection is None and not self.blind:
            self._open()
        if self._socket is None:
            return
        self._keys = keys
        self._asked_at = self._asked_at or monotonic()
        self._send(pack([("EXISTS", *keys)]))

    def disarm(self) -> None:
        """What is heard from now on is of no use: other keys will be asked for."""
        self._keys = ()

    def hear(self) -> bool:
        """Read what has come; say whether something may be in the queues."""
        heard = self._receive()
        if heard:
            self._asked_at = None
        # All but the answer "none of them" counts; a message torn in two wakes once too often, and never too rarely.
        if not heard.replace(b":0\r\n", b""):
            return False
        self._keys = ()
        return True

    def check(self) -> None:
        """Ask whether the server still hears us. Raises `ConnectionError` when it has not answered for too long."""
        if self._asked_at is not None and monotonic() - self._asked_at > self._patience_s:
            raise ConnectionLost(f"no answer on the waiting connection for {self._patience_s:g} s")
        if self._keys:
            self.arm(self._keys)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._socket = self._connection, None, None
        self._keys, self._asked_at = (), None
        if connection is not None:
            connection.close()

    def _open(self) -> None:
        connection = self._connect()
        connection.connect()
        try:
            connection.send(("CLIENT", "TRACKING", "ON"))
            connection.receive()
        except Refused as exc:
            logger.warning("this server cannot wake a consumer (%s): it is asked 20 times a second", exc)
            connection.close()
            self.blind = True
            return
        self._connection, self._socket = connection, connection.socket
        self._socket.settimeout(0)

    def _send(self, packed: bytes) -> None:
        try:
            self._socket.sendall(packed)
        except (OSError, ValueError) as exc:  # also when the buffer is full: it takes no answer for so long
            raise ConnectionLost(f"the waiting connection broke: {exc}") from exc

    def _receive(self) -> bytes:
        parts: list[bytes] = []
        while True:
            try:
                part = self._socket.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return b"".join(parts)
            except OSError as exc:
                raise ConnectionLost(f"the waiting connection broke: {exc}") from exc
            if not part:
                raise ConnectionLost("the server closed the waiting connection")
            parts.append(part)
