"""The steps `Daemon` and `Pidfile`: first of all, so that nothing is started that the pid file forbids."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bootsteps import Step, WorkerView, hookimpl
from bootsteps_daemon.mark import LONGEST, VARIABLE, Mark
from bootsteps_daemon.settings import DETACH, EXECUTABLE, GID, INIT, PIDFILE, UID, UMASK
from bootsteps_worker import expand_path

if TYPE_CHECKING:
    from bootsteps_daemon.pidfile import Pidfile

__all__ = ["Daemon", "PidfileStep"]


class Daemon(Step):
    """Lets go of the terminal in a process that was detached, and tells who waits for it how the start went."""

    first = True
    settings = (DETACH, UID, GID, UMASK, EXECUTABLE, INIT)

    def __init__(self, worker: Any, logfile: str | None = None, **options: Any) -> None:
        found = Mark.read()
        self._mark = found or Mark()
        self._was_launched = found is not None
        self._logfile = logfile

    def include_if(self, worker: WorkerView) -> bool:
        return self._was_launched

    def create(self, worker: WorkerView) -> Mark:
        os.environ.pop(VARIABLE, None)  # what tasks start is not this worker
        return self._mark

    def start(self, worker: WorkerView) -> None:
        worker.on_stop(self._hang_up)
        if self._mark.detached:
            self._let_go(expand_path(self._logfile, worker.hostname) if self._logfile else os.devnull)

    def _let_go(self, output: str) -> None:
        """What tasks print goes to the log file, too; without one nowhere."""
        for path, how, fds in ((os.devnull, os.O_RDONLY, (0,)), (output, os.O_WRONLY | os.O_APPEND, (1, 2))):
            opened = os.open(path, how | os.O_CLOEXEC)
            for fd in fds:
                os.dup2(opened, fd)
            os.close(opened)

    @hookimpl
    def worker_ready(self) -> None:
        self._say("ready\n")

    @hookimpl
    def step_failed(self, step: str, action: str, error: BaseException) -> None:
        if action == "start":
            whole = f"Error: {error}\n" if str(error) else f"Error: step {step} failed: {type(error).__name__}\n"
            self._say(whole)

    def _say(self, text: str) -> None:
        if self._mark.line is not None:
            with suppress(OSError):
                os.write(self._mark.line, text.encode(errors="replace")[:LONGEST])
            self._hang_up()

    def _hang_up(self) -> None:
        if self._mark.line is not None:
            os.close(self._mark.line)
            self._mark = Mark(self._mark.detached, has_init=self._mark.has_init)


class PidfileStep(Step):
    """Holds the worker's pid file."""

    first = True
    after = ("Daemon",)
    settings = (PIDFILE,)

    def include_if(self, worker: WorkerView) -> bool:
        return bool(worker.setting(PIDFILE))

    def create(self, worker: WorkerView) -> Pidfile:
        from pathlib import Path

        from bootsteps_daemon.pidfile import Pidfile

        path = worker.setting(PIDFILE)
        assert path, "include_if saw to that"
        return Pidfile(Path(expand_path(path, worker.hostname)).absolute())

    def start(self, worker: WorkerView) -> None:
        self.obj.acquire()
        worker.on_stop(self.obj.release)
