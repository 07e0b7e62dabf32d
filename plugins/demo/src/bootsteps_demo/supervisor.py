"""A worker in a process of its own, replaced when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bootsteps import KernelError

__all__ = ["Supervisor", "WorkerFailed"]

READY_LIMIT_S = 30.0
STOP_LIMIT_S = 40.0


class WorkerFailed(KernelError):
    """The worker did not start, died too often, or did not stop."""

    exit_status = 1


class Supervisor:
    """Starts a worker, starts another when it dies, and stops it warmly."""

    def __init__(self, folder: Path, options: Sequence[str], most_deaths: int = 5) -> None:
        self.log = folder / "worker.log"
        #: What each worker died of.
        self.deaths: list[str] = []
        self._options = options
        self._most_deaths = most_deaths
        self._folder = folder
        self._process = self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["worker", "-A", "bootsteps_demo.app:app", "-l", "INFO", *self._options]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bootsteps", *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us: we stop it warmly
            )

    def wait_ready(self) -> float:
        """Wait until the worker is ready; return the seconds that took. Raises `WorkerFailed`."""
        began = time.monotonic()
        while " ready." not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() - began > READY_LIMIT_S:
                raise WorkerFailed("the worker did not start", self.tail(), f"look into {self.log}")
            time.sleep(0.01)
        return time.monotonic() - began

    def check(self) -> str | None:
        """Replace a worker that died and return what it died of; None when it lives. Raises `WorkerFailed`."""
        status = self._process.poll()
        if status is None:
            return None
        reason = f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"exit status {status}"
        self.deaths.append(reason)
        if len(self.deaths) > self._most_deaths:
            raise WorkerFailed(f"the worker died {len(self.deaths)} times", self.tail(), f"look into {self.log}")
        self._process = self._start()
        return reason

    def stop(self) -> None:
        """Stop the worker warmly. Raises `WorkerFailed` when it does not exit with status 0 in time."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
        try:
            status = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise WorkerFailed(f"the worker did not stop within {STOP_LIMIT_S:g} s", self.tail()) from None
        if status:
            raise WorkerFailed(f"the worker stopped with status {status}", self.tail(), f"look into {self.log}")

    def kill(self) -> None:
        """End it at once, if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 15) -> list[str]:
        """Return the end of the worker's log."""
        return self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.exists() else []
