"""The start method forkserver: a process that imports the application once, has no threads, and forks the children."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from bootsteps import Runner
from bootsteps_pool_processes.child import Birth, live
from bootsteps_pool_processes.hygiene import be_a_child, signals_held
from bootsteps_pool_processes.logs import snapshot
from bootsteps_pool_processes.nature import Equipment, Nature
from bootsteps_pool_processes.recycle import Recycling
from bootsteps_pool_processes.shared import Claims, Slot, memory

__all__ = ["Nursery", "serve"]

#: What the nursery says: a child's pid, and the status of its end (see waitpid), or -1 when it was born.
NEWS = struct.Struct("<qq")
#: Born; its pidfd comes with it.
BORN = -1
#: It has so long for its own start, with all that the application imports, and for each child.
START_S = 20.0


class Nursery:
    """The pool's hold on the process that forks its children. Linux only: it needs pidfds. Loop thread only."""

    def __init__(self, nature: Nature, make_runner: Callable[[], Runner], recycling: Recycling) -> None:
        import subprocess  # takes its time, and few need it

        self._ends: dict[int, int] = {}
        #: How many children are not released yet.
        self._children = 0
        self._retired = False
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(START_S)
        with theirs, signals_held() as mask:
            birth = Birth(os.getpid(), 0, nature, make_runner, [int(number) for number in mask])
            packed = pickle.dumps((theirs.fileno(), sys.path, snapshot())) + pickle.dumps((birth, recycling))
            with memory(packed) as fd:
                code = f"from bootsteps_pool_processes.spawned import nursery\nnursery({fd})"
                command = [sys.executable, "-P", "-c", code]
                fds = (theirs.fileno(), fd)
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def bear(self, index: int, fds: tuple[int, int, int]) -> tuple[int, int]:
        """Fork a child with its ends of socket, claims and slot; return its pid and a pidfd. Raises OSError."""
        socket.send_fds(self._socket, [index.to_bytes(8, "little")], list(fds))
        while True:
            pid, status, pidfd = self._hear()
            if status == BORN:
                self._children += 1
                return pid, pidfd
            self._ends[pid] = status

    def _hear(self) -> tuple[int, int, int]:
        data, fds, _, _ = socket.recv_fds(self._socket, NEWS.size, 1)
        if len(data) < NEWS.size:
            raise ConnectionError("the process that forks the pool's children has ended; its log says why")
        pid, status = NEWS.unpack(data)
        return pid, status, fds[0] if fds else -1

    def exit_code(self, pid: int, pidfd: int) -> int | None:
        """Return how a child ended, as `Process.exit_code` does."""
        gone = select.poll()
        gone.register(pidfd, select.POLLIN)
        ends = time.monotonic() + START_S
        while pid not in self._ends and gone.poll(0) and time.monotonic() < ends:
            try:
                other, status, _ = self._hear()
            except OSError:  # it has ended itself
                return None
            self._ends[other] = status
        status = self._ends.get(pid, BORN)
        return None if status == BORN else os.waitstatus_to_exitcode(status)

    def release(self) -> None:
        """Forget a child that has ended."""
        self._children -= 1
        self._close_if_over()

    def retire(self) -> None:
        """Bear no more, and end with the last child."""
        self._retired = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._retired and not self._children:
            self.close()

    def close(self) -> None:
        """End it, when its children have ended: those that have not would die with it."""
        self._socket.close()
        import subprocess

        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
            return
        self._process.kill()
        self._process.wait()


def serve(pool: socket.socket, birth: Birth, recycling: Recycling) -> NoReturn:
    """Fork a child for each request, and tell of each end, until the pool hangs up. The nursery's main function."""
    be_a_child(birth.parent, (), birth.mask)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poller = select.poll()
    poller.register(pool, select.POLLIN)
    poller.register(reader, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == reader:
                os.read(reader, 512)
                _reap(pool)
                continue
            data, fds, _, _ = socket.recv_fds(pool, 8, 3)
            if not data:
                os._exit(0)
            _bear(pool, replace(birth, index=int.from_bytes(data, "little"), parent=os.getpid()), recycling, fds)


def _bear(pool: socket.socket, birth: Birth, recycling: Recycling, fds: list[int]) -> None:
    with signals_held():
        pid = os.fork()
        if pid == 0:
            _live(pool, birth, recycling, fds)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(pool, [NEWS.pack(pid, BORN)], [pidfd])
    for fd in (pidfd, *fds):
        os.close(fd)


def _live(pool: socket.socket, birth: Birth, recycling: Recycling, fds: list[int]) -> NoReturn:
    status = 1
    try:
        end, reader, slot = fds
        equipment = Equipment(socket.socket(fileno=end), Claims(reader), Slot(slot), recycling, birth.make_runner)
        be_a_child(birth.parent, [pool.fileno(), slot], birth.mask)
        live(birth, equipment)
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _reap(pool: socket.socket) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pool.sendall(NEWS.pack(*ended))
