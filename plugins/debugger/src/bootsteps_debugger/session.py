"""Python's debugger on a socket of the loopback interface."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from pathlib import Path
from pdb import Pdb
from types import FrameType
from typing import Any

__all__ = ["WAIT_S", "debug"]

log = logging.getLogger("worker.Debugger")
#: How long somebody is waited for.
WAIT_S = 60.0
LOOPBACK = "127.0.0.1"


class _Session(Pdb):
    """One conversation. Whatever ends it, the process goes on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        # Two, since one for both forgets at each write what it has read ahead.
        self._files = connection.makefile("r"), connection.makefile("w", buffering=1)
        self.over = False
        super().__init__(stdin=self._files[0], stdout=self._files[1], nosigint=True, readrc=False)

    def begin(self, frame: FrameType) -> None:
        """Talk about where the frame is now; then step on from there, if that is wanted."""
        self.reset()
        self._talk(frame)
        if self.over:
            return
        below: FrameType | None = frame
        while below is not None:
            below.f_trace = self.trace_dispatch
            self.botframe = below
            below = below.f_back
        sys.settrace(self.trace_dispatch)

    def _talk(self, frame: FrameType) -> None:
        try:
            self.interaction(frame, None)
        except OSError:
            self._end()

    def _end(self) -> bool:
        self.over = True
        self.clear_all_breaks()
        self.set_continue()
        sys.settrace(None)
        for close in (*(file.close for file in self._files), self._connection.close):
            try:
                close()
            except OSError:  # who was connected is gone
                continue
        log.warning("the debugger is closed, and the process goes on")
        return True

    def do_continue(self, arg: str) -> bool:
        """c(ont(inue)): end the conversation and go on."""
        return self._end()

    do_c = do_cont = do_quit = do_q = do_exit = do_EOF = do_continue


def debug(frame: FrameType, wait_s: float = WAIT_S) -> None:
    """Let somebody look at a frame of the present thread, who connects in time."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        log.warning("a debugger waits for %g s in process %d: nc %s %d", wait_s, os.getpid(), LOOPBACK, port)
        connection = _somebody(listener, time.monotonic() + wait_s)
    if connection is None:
        log.warning("nobody came to the debugger, and the process goes on")
        return
    connection.settimeout(None)
    _Session(connection).begin(frame)


def _somebody(listener: socket.socket, ends: float) -> socket.socket | None:
    """Return the first connection of who may come in."""
    while (left := ends - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            connection, address = listener.accept()
        except TimeoutError:
            return None
        if _user(address, listener.getsockname()) in (0, os.geteuid()):
            return connection
        log.error("the debugger was asked for by another user, or by one who cannot be told, and sent them away")
        connection.close()
    return None


def _user(theirs: Any, ours: Any) -> int | None:
    """Return the user at the other end of a connection within this machine; None where that cannot be told."""
    row = [_in_hex(*theirs), _in_hex(*ours)]
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return None
    return next((int(fields[7]) for fields in map(str.split, lines) if fields[1:3] == row), None)


def _in_hex(host: str, port: int) -> str:
    """Return an address as /proc/net/tcp has it."""
    number = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    return f"{number:08X}:{port:04X}"
