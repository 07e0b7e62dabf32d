"""A TCP proxy whose connections can be told apart."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

__all__ = ["Gate", "through"]


class Gate:
    """A TCP proxy before a broker, whose connections are counted, can be cut by number, and be refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.open = True
        self.refused = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._passed: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __len__(self) -> int:
        return len(self._pairs)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self.open:
                    self.refused += 1
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                number = len(self._pairs)
                self._pairs.append((near, far))
                self._passed.append(0)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(number, *pair), daemon=True).start()

    def _pump(self, number: int, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._passed[number] += len(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def passed(self) -> list[int]:
        """How many bytes went through each connection, in the order in which they were made."""
        return list(self._passed)

    def cut(self, number: int) -> None:
        for end in self._pairs[number]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for number in range(len(self)):
            self.cut(number)


def through(url: str, gate: Gate) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{gate.port}")))
