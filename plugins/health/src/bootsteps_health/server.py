"""A small HTTP server: one thread waits, another answers. `GET` of three pages, as JSON or text, and nothing else."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootsteps_control_socket import address, is_alive, link_name, own_folder
from bootsteps_health.probe import CHECKS, END, JSON, TEXT
from bootsteps_health.state import Verdict

__all__ = ["Server", "on_port", "on_socket"]

log = logging.getLogger("worker.Health")

#: Longest request, bytes; how long its sender may take, seconds; how many are answered at one time.
LONGEST, PATIENCE_S, AT_ONCE = 8192, 5.0, 8
PAGES = {page: check for check, page in CHECKS.items()}
WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Server:
    """Answers on a listening socket until it is closed."""

    def __init__(self, listener: socket.socket, judge: Callable[[str], Verdict]) -> None:
        self._listener, self._judge = listener, judge
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._open = True
        listening: Any = threading.Thread(target=self._listen, name="health", daemon=True)
        listening.fork_safe = True  # it waits in `accept`: a pool may fork beside it
        listening.start()

    def close(self) -> None:
        """Answer no more."""
        self._open = False
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._listener.close()

    def _listen(self) -> None:
        while self._open:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._places.acquire()
            threading.Thread(target=self._serve, args=(line,), name="health-answer", daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            with line:
                line.settimeout(PATIENCE_S)
                request = _read(line)
                if request:  # else somebody only looked whether we are there
                    line.sendall(self._reply(request))
        except OSError as exc:
            log.debug("whoever asked is gone: %s", exc)
        except Exception:
            log.exception("a question after this worker's health could not be answered")
        finally:
            self._places.release()

    def _reply(self, request: bytes) -> bytes:
        first, *headers = request.decode("latin-1").split("\r\n")
        words = first.split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _page(400, {"error": "this is no HTTP request"})
        method, page = words[0], words[1].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _page(405, {"error": f"{method} is not answered here, GET is"})
        if page not in PAGES:
            return _page(404, {"error": f"there are {', '.join(PAGES)}"}, method)
        verdict = self._judge(PAGES[page])
        wants_text = f"accept:{TEXT}" in (line.replace(" ", "").lower() for line in headers)
        return _page(200 if verdict.ok else 503, str(verdict) if wants_text else verdict.as_dict(), method)


def _read(line: socket.socket) -> bytes:
    """Return a request's head; a body is not read."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < LONGEST:
        more = line.recv(LONGEST)
        if not more:
            break
        data += more
    return data


def _page(status: int, answer: dict[str, Any] | str, method: str = "GET") -> bytes:
    kind, text = (TEXT, answer) if isinstance(answer, str) else (JSON, json.dumps(answer))
    body = text.encode() + b"\n"
    head = (
        f"HTTP/1.0 {status} {WORDS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)


def on_port(place: str) -> socket.socket:
    """Listen for TCP on HOST:PORT. Raises OSError."""
    host, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=64)


def on_socket(folder: Path, hostname: str) -> tuple[socket.socket, Callable[[], None]]:
    """Listen on a Unix socket, for this user alone; return it, and how to remove its name. Raises OSError."""
    own_folder(folder)
    _sweep(folder)
    path, link = folder / f"{os.getpid()}{END}", folder / f"{Path(link_name(hostname)).stem}{END}"
    path.unlink(missing_ok=True)  # of an earlier process of this pid
    listener = socket.socket(socket.AF_UNIX)
    with address(path) as name:
        listener.bind(name)  # in a folder that nobody else can enter
    path.chmod(0o600)
    listener.listen(64)
    made = folder / f"{os.getpid()}.health-link"
    made.unlink(missing_ok=True)
    made.symlink_to(path.name)
    made.replace(link)  # at once and not by way of nothing

    def remove() -> None:
        path.unlink(missing_ok=True)
        with suppress(OSError):
            if link.readlink() == Path(path.name):  # else another worker of that name came since
                link.unlink()

    return listener, remove


def _sweep(folder: Path) -> None:
    """Remove what killed workers left behind."""
    for path in sorted(folder.glob(f"*{END}")):
        if not is_alive(path):
            path.unlink(missing_ok=True)
