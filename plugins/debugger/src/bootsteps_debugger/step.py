"""The step `Debugger`: USR2 opens one, in the worker and in its children."""

from __future__ import annotations

import re
import signal
import threading
from functools import partial
from types import FrameType
from typing import Any

from bootsteps import Setting, Step, WorkerView, hookimpl

__all__ = ["ChildDebugger", "Debugger"]

WAIT = Setting[float](
    "worker_debugger_wait", float, 60.0, unit="s", flags=(), help="how long a debugger waits for who asked for it"
)
#: The name of a pool child's process.
CHILD = re.compile(r"\w+PoolWorker-\d+")


def _handler(wait_s: float) -> Any:
    def handle(signum: int, frame: FrameType | None) -> None:
        from bootsteps_debugger.session import debug  # imports pdb, which is dear

        if frame is not None:
            debug(frame, wait_s)

    return handle


class Debugger(Step):
    """Takes USR2 in the worker's main thread."""

    after = ("Signals",)
    before = ("Pool",)
    settings = (WAIT,)

    def include_if(self, worker: WorkerView) -> bool:
        return threading.current_thread() is threading.main_thread()

    def start(self, worker: WorkerView) -> None:
        earlier = signal.signal(signal.SIGUSR2, _handler(worker.setting(WAIT)))
        worker.on_stop(partial(signal.signal, signal.SIGUSR2, earlier))


class ChildDebugger:
    """Takes it in a new pool child."""

    @staticmethod
    @hookimpl
    def worker_process_init(app: Any) -> None:
        import multiprocessing

        if CHILD.fullmatch(multiprocessing.current_process().name):
            signal.signal(signal.SIGUSR2, _handler(WAIT.default if app is None else app.conf.get(WAIT)))
