"""The socket and the threads that answer on it."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootsteps_control_socket.folder import END, address, link_name, own_folder, sweep

__all__ = ["Server"]

log = logging.getLogger("worker.ControlSocket")

#: Longest command, bytes; and how long its sender may take to say it, seconds.
LONGEST, PATIENCE_S = 1_000_000, 5.0
#: How many are answered at one time; more wait.
AT_ONCE = 8
#: A command waits no longer than this for the loop, whatever its sender wishes.
LONGEST_WAIT_S = 3600.0


class Server:
    """Listens in a thread of its own, and answers each connection in another: one question, one answer, a line each."""

    def __init__(self, folder: Path, hostname: str, answer: Callable[[str, Mapping[str, Any], float], Any]) -> None:
        self._folder = folder
        self._hostname = hostname
        self._answer = answer
        self._listener: socket.socket | None = None
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._pid = os.getpid()
        self.path = folder / f"{self._pid}{END}"
        self._link = folder / link_name(hostname)

    def open(self) -> None:
        """Listen. Raises OSError or `KernelError`."""
        own_folder(self._folder)
        sweep(self._folder)
        self._listener = listener = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError):
            self.path.unlink()  # an earlier process of this pid
        with address(self.path) as name:
            listener.bind(name)  # in a folder that nobody else can enter
        self.path.chmod(0o600)
        listener.listen(64)
        self._set_link()
        listening: Any = threading.Thread(target=self._listen, args=(listener,), name="control-socket", daemon=True)
        listening.fork_safe = True  # it waits in `accept`: a pool may fork beside it
        listening.start()

    def _set_link(self) -> None:
        """Let the node's name lead here, at once and not by way of nothing."""
        made = self._folder / f"{self._pid}.link"
        with suppress(FileNotFoundError):
            made.unlink()
        made.symlink_to(self.path.name)
        made.replace(self._link)

    def close(self) -> None:
        """Take no more questions."""
        listener, self._listener = self._listener, None
        if listener is None or os.getpid() != self._pid:
            return
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        listener.close()
        with suppress(FileNotFoundError):
            self.path.unlink()
        with suppress(OSError):
            if self._link.readlink() == Path(self.path.name):  # else another worker of that name came since
                self._link.unlink()

    def _listen(self, listener: socket.socket) -> None:
        while self._listener is not None:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            self._places.acquire()
            threading.Thread(target=self._serve, args=(line,), name="control-answer", daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            with line:
                line.settimeout(PATIENCE_S)
                if _is_own(line):
                    self._reply(line)
        except OSError as exc:
            log.debug("whoever asked is gone: %s", exc)
        except Exception:
            log.exception("a command that came by the socket could not be handled")
        finally:
            self._places.release()

    def _reply(self, line: socket.socket) -> None:
        with line.makefile("rb") as file:
            text = file.readline(LONGEST)
        if not text:
            return  # somebody only looked whether we are there
        try:
            question = json.loads(text)
            name, arguments = question["command"], question.get("arguments") or {}
            wait = min(float(question.get("timeout") or 0.0), LONGEST_WAIT_S)
            if not isinstance(name, str) or not isinstance(arguments, dict):
                raise TypeError("command is a text and arguments are an object")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            answer: Any = {"error": f"this is no command: {exc!r}"}
        else:
            answer = self._answer(name, arguments, wait)
        line.sendall(json.dumps({self._hostname: answer}, default=_plain).encode() + b"\n")


def _plain(value: Any) -> Any:
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else str(value)


def _is_own(line: socket.socket) -> bool:
    """Only this user and root: a check beside the folder's and the socket's modes, where the system can tell."""
    peer = getattr(socket, "SO_PEERCRED", None)
    if peer is None:
        return True
    _, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, peer, struct.calcsize("3i")))
    return uid in (os.getuid(), 0)
