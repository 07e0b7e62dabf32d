"""How a child's process comes to be: forked from this one, or as a fresh interpreter."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from bootsteps import KernelError
from bootsteps_pool_processes.child import Birth
from bootsteps_pool_processes.hygiene import signals_held
from bootsteps_pool_processes.logs import snapshot
from bootsteps_pool_processes.nature import Equipment
from bootsteps_pool_processes.nursery import Nursery
from bootsteps_pool_processes.recycle import Recycling
from bootsteps_pool_processes.shared import Claims, Slot, memory

__all__ = ["Process", "Tools", "check_picklable", "fork", "nurse", "spawn"]


class Process(Protocol):
    """The pool's hold on the process of a child."""

    pid: int
    #: A descriptor that is readable when it has ended, where there are no pidfds; None = there is none.
    sentinel: int | None

    def exit_code(self) -> int | None:
        """Return how it ended, a signal as its negative number; None while it runs."""

    def close(self) -> None:
        """Release it, when it has ended."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the pool makes for a child, of which the child has the other ends."""

    #: The child's end.
    socket: socket.socket
    claims: Claims
    slot: Slot
    #: The slot's memory, for children that do not inherit it.
    slot_fd: int
    recycling: Recycling


class _Forked:
    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid
        self.sentinel: int | None = process.sentinel

    def exit_code(self) -> int | None:
        code: int | None = self._process.exitcode
        return code

    def close(self) -> None:
        try:
            self._process.close()
        except ValueError:  # billiard believes it alive, since it did not get the exit status
            assert self.sentinel is not None
            os.close(self.sentinel)


def fork(make: Callable[[Iterable[int]], Birth], tools: Tools, foreign: list[int]) -> Process:
    """Fork a child; `make` gets the signals that were blocked before."""
    from bootsteps_pool_processes.forked import ForkedChild

    with signals_held() as mask:
        birth = make(mask)
        equipment = Equipment(tools.socket, tools.claims, tools.slot, tools.recycling, birth.make_runner)
        process: Any = ForkedChild(birth, equipment, foreign)
        process.start()
    return _Forked(process)


class _Spawned:
    sentinel: int | None = None

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    def exit_code(self) -> int | None:
        code: int | None = self._process.poll()
        return code

    def close(self) -> None:
        """It has been waited for, or cannot be."""


def spawn(make: Callable[[Iterable[int]], Birth], tools: Tools) -> Process:
    """Start a child as a fresh interpreter, which has nothing of this process but what is named here."""
    import subprocess

    fds = (tools.socket.fileno(), tools.claims.reader, tools.slot_fd)
    with signals_held() as mask:
        birth = make([int(number) for number in mask])
        packed = pickle.dumps((fds[0], sys.path, snapshot())) + pickle.dumps((birth, fds, tools.recycling))
        with memory(packed) as fd:
            code = f"{birth.nature.first}\nfrom bootsteps_pool_processes.spawned import main\nmain({fd})"
            command = [sys.executable, "-P", "-c", code]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(*fds, fd))
    return _Spawned(process)


class _Nursed:
    def __init__(self, nursery: Nursery, pid: int, pidfd: int) -> None:
        self._nursery, self._pidfd = nursery, pidfd
        self.pid = pid
        self.sentinel: int | None = pidfd

    def exit_code(self) -> int | None:
        return self._nursery.exit_code(self.pid, self._pidfd)

    def close(self) -> None:
        os.close(self._pidfd)
        self._nursery.release()


def nurse(nursery: Nursery, index: int, tools: Tools) -> Process:
    """Let the nursery fork a child."""
    fds = tools.socket.fileno(), tools.claims.reader, tools.slot_fd
    return _Nursed(nursery, *nursery.bear(index, fds))


def check_picklable(make_runner: Any, start_method: str) -> None:
    """Raise `KernelError` if children that are not forked could not get this."""
    try:
        pickle.dumps(make_runner)
    except Exception as exc:
        what = f"children of the start method {start_method!r} cannot be given what they run"
        fix = "let the application be a name of a module that can be imported (-A MODULE:NAME), or choose fork"
        raise KernelError(f"{what} ({make_runner!r}): {type(exc).__name__}: {exc}", (), fix) from exc
