"""Process signals: a handler sets a wish, and the loop acts on it."""

from __future__ import annotations

import signal
import socket
import threading
from functools import partial
from types import FrameType
from typing import Any

from bootsteps import HUB, Setting, Step, WorkerView

__all__ = ["GRACE", "Signals"]

GRACE = Setting[float | None](
    "worker_soft_shutdown_timeout",
    float,
    25.0,
    unit="s",
    flags=("--grace",),
    help="how long running tasks may go on after the first TERM or INT",
)


class Signals(Step):
    """TERM and INT wish for a warm shutdown, a second one for a cold one; QUIT for a cold one at once.

    Signals belong to the main thread: a worker that runs in another one is ended by `WorkController.stop`.
    """

    wants = (HUB,)
    before = ("Pool",)
    settings = (GRACE,)

    def include_if(self, worker: WorkerView) -> bool:
        return threading.current_thread() is threading.main_thread()

    def start(self, worker: WorkerView) -> None:
        def warm(signum: int, frame: FrameType | None) -> None:
            worker.stop()

        def cold(signum: int, frame: FrameType | None) -> None:
            worker.terminate()

        for number, handler in {signal.SIGTERM: warm, signal.SIGINT: warm, signal.SIGQUIT: cold}.items():
            worker.on_stop(partial(signal.signal, number, signal.signal(number, handler)))
        hub = worker.get(HUB, None)
        if hub is not None:
            _wake(worker, hub)


def _wake(worker: WorkerView, hub: Any) -> None:
    """Let a signal wake the sleeping loop: Python writes to a socket that the loop reads."""
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
        worker.on_stop(end.close)
    earlier = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    worker.on_stop(lambda: signal.set_wakeup_fd(earlier))
    hub.add_reader(reader, reader.recv, 4096)
    worker.on_stop(lambda: hub.remove(reader))
