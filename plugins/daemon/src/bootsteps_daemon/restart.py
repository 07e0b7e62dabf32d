"""The step `Restart`: HUP stops the worker warmly and starts it anew in the same process."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import Any

from bootsteps import Step, WorkerView, hookimpl
from bootsteps_daemon.mark import Mark

__all__ = ["Restart"]


class Restart(Step):
    """Heeds HUP in a worker without a terminal; in one at a terminal HUP is the terminal's end."""

    after = ("Daemon", "Signals")
    before = ("Pool",)

    def __init__(self, worker: Any, launch: tuple[Sequence[str], str] | None = None, **options: Any) -> None:
        self._launch = launch
        mark = Mark.read() or Mark()
        self._next = Mark(mark.detached, has_init=mark.has_init)

    def include_if(self, worker: WorkerView) -> bool:
        return threading.current_thread() is threading.main_thread() and self._launch is not None

    def start(self, worker: WorkerView) -> None:
        if _has_terminal():
            return

        def again(signum: int, frame: FrameType | None) -> None:
            worker.log.warning("HUP: the worker is stopped warmly, and starts anew")
            sig = signal.Signals(signum).name
            worker.hooks.announce("worker_shutting_down", worker=worker, sig=sig, how="Warm", exitcode=0)
            atexit.unregister(self._again)
            atexit.register(self._again)
            worker.stop()

        worker.on_stop(partial(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, again)))

    @hookimpl
    def worker_shutting_down(self) -> None:
        """TERM, INT or QUIT after a HUP: it shall end. (A HUP itself says so before it registers.)"""
        atexit.unregister(self._again)

    def _again(self) -> None:
        """Call the program again, as the very last thing: after it nothing of this process happens any more."""
        assert self._launch is not None, "include_if saw to that"
        command, folder = self._launch
        atexit.unregister(self._again)
        atexit._run_exitfuncs()  # those of others come after this one, that is never
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(folder)
        os.execve(command[0], list(command), self._next.environment())


def _has_terminal() -> bool:
    """Tell whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
