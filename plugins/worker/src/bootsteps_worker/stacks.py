"""Where every thread is now, for the log: what USR1 asks for."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType

from bootsteps import hookimpl
from bootsteps_worker.logs import CHILD

__all__ = ["ChildStacks", "ask", "stacks", "tell"]

log = logging.getLogger("worker.Signals")


def stacks() -> str:
    """Return the stacks of all threads of this process, the present one's last."""
    names = {thread.ident: thread for thread in threading.enumerate()}
    mine = threading.get_ident()
    frames = sorted(sys._current_frames().items(), key=lambda item: (item[0] == mine, item[0]))
    return "\n".join(_one(ident, names.get(ident), frame) for ident, frame in frames)


def _one(ident: int, thread: threading.Thread | None, frame: FrameType) -> str:
    name = "a thread that Python did not start" if thread is None else thread.name
    daemon = ", daemon" if thread is not None and thread.daemon else ""
    return f"== {name} ({ident}{daemon})\n{''.join(traceback.format_stack(frame))}"


def tell(signum: int, frame: FrameType | None) -> None:
    """Log the stacks. A signal handler."""
    log.warning("%s: the threads of process %d\n%s", signal.Signals(signum).name, os.getpid(), stacks())


def ask(pids: Iterable[int], signum: int) -> list[int]:
    """Have these processes tell theirs; return which were asked. One that does not listen (yet) would die of it."""
    asked = [pid for pid in pids if _listens(pid, signum)]
    for pid in asked:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
    return asked


def _listens(pid: int, signum: int) -> bool:
    """Tell whether a process has a handler for the signal; False where there is no /proc to see it."""
    from pathlib import Path

    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
    return bool(caught >> (signum - 1) & 1)


class ChildStacks:
    """Lets a new pool child tell, too."""

    @staticmethod
    @hookimpl
    def worker_process_init() -> None:
        import multiprocessing

        if CHILD.fullmatch(multiprocessing.current_process().name):
            signal.signal(signal.SIGUSR1, tell)
