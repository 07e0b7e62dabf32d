"""A TCP proxy that can be cut, mended, and made to swallow everything."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

__all__ = ["Cable"]


class Cable:
    """Leads from a free local port to another one. `url` is that of the server, with the cable's port."""

    def __init__(self, url: str) -> None:
        head, _, tail = url.rpartition("127.0.0.1:")
        port, slash, path = tail.partition("/")
        self._target = ("127.0.0.1", int(port))
        self._pairs: list[socket.socket] = []
        self._through = threading.Event()
        self._swallowed: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]
        self.url = f"{head}127.0.0.1:{self.port}{slash}{path}"
        self._through.set()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._pairs += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._through.wait()
                if source not in self._swallowed:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection, and let nobody connect."""
        for end in (self._listener, *self._pairs):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def mend(self) -> None:
        """Let connect and pass again."""
        self._through.set()
        if self._listener.fileno() < 0:
            self._listener = self._listen(self.port)

    def swallow(self, new: bool = True) -> None:
        """Let nothing pass, and tell nobody; `new`: nor by connections that are yet to be made."""
        if new:
            self._through.clear()
        else:
            self._swallowed.update(self._pairs)
