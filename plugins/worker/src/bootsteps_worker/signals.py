"""Process signals: a handler sets a wish, and the loop acts on it."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from types import FrameType
from typing import Any

from bootsteps import HUB, Setting, Step, WorkerView

__all__ = ["GRACE", "POOL_RESTARTS", "REMAP", "Signals"]

GRACE = Setting[float | None](
    "worker_soft_shutdown_timeout",
    float,
    25.0,
    unit="s",
    flags=("--grace",),
    help="how long running tasks may go on after the first TERM or INT",
)
#: Of the remote command `pool_restart`, which no step brings.
POOL_RESTARTS = Setting[bool]("worker_pool_restarts", bool, False, flags=(), help="allow the command pool_restart")
#: As Celery has it: the name of the signal whose meaning TERM takes on.
REMAP = "REMAP_SIGTERM"
#: Signals that other steps take over.
NOT_OURS = {
    signal.SIGHUP: "with bootsteps-daemon a worker that no terminal controls would start anew",
    signal.SIGUSR2: "with bootsteps-debugger it would open a debugger",
}


class Signals(Step):
    """TERM and INT wish for a warm shutdown, a second one for a cold one; QUIT for a cold one at once.

    USR1 tells in the log where all threads are, here and in the pool's children. HUP and USR2 do nothing but for a
    line in the log, unless another step takes them over.

    Signals belong to the main thread: a worker that runs in another one is ended by `WorkController.stop`.
    """

    wants = (HUB,)
    before = ("Pool",)
    settings = (GRACE, POOL_RESTARTS)

    def include_if(self, worker: WorkerView) -> bool:
        return threading.current_thread() is threading.main_thread()

    def start(self, worker: WorkerView) -> None:
        from bootsteps_worker.stacks import ask, tell

        def warm(signum: int, frame: FrameType | None) -> None:
            _tell(worker, signum, "Warm")
            worker.stop()

        def cold(signum: int, frame: FrameType | None) -> None:
            _tell(worker, signum, "Cold")
            worker.terminate()

        def show(signum: int, frame: FrameType | None) -> None:
            tell(signum, frame)
            ask(_children(worker), signum)

        def ignore(signum: int, frame: FrameType | None) -> None:
            number = signal.Signals(signum)
            worker.log.warning("%s is ignored: %s", number.name, NOT_OURS[number])

        term = cold if os.environ.get(REMAP) == "SIGQUIT" else warm
        handlers: dict[int, Any] = {signal.SIGTERM: term, signal.SIGINT: warm, signal.SIGQUIT: cold}
        handlers[signal.SIGUSR1] = show
        handlers.update(dict.fromkeys(NOT_OURS, ignore))
        for number, handler in handlers.items():
            worker.on_stop(partial(signal.signal, number, signal.signal(number, handler)))
        hub = worker.get(HUB, None)
        if hub is not None:
            _wake(worker, hub)


def _children(worker: WorkerView) -> list[int]:
    """Return the pool's child processes."""
    pids = worker.info().get("pool", {}).get("processes", ())
    return [pid for pid in pids if isinstance(pid, int) and pid != os.getpid()]


def _tell(worker: WorkerView, signum: int, how: str) -> None:
    sig = signal.Signals(signum).name
    worker.hooks.announce("worker_shutting_down", worker=worker, sig=sig, how=how, exitcode=0)


def _wake(worker: WorkerView, hub: Any) -> None:
    """Let a signal wake the sleeping loop: Python writes to a socket that the loop reads."""
    import socket

    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
        worker.on_stop(end.close)
    earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    worker.on_stop(lambda: signal.set_wakeup_fd(earlier))
    hub.add_reader(reader, reader.recv, 4096)
    worker.on_stop(lambda: hub.remove(reader))
