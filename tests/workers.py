"""A real worker in a process of its own, on an application that the test writes down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["TASKS", "WorkerProcess", "running_worker", "until"]

LIMIT_S = 30.0

#: An application with a few tasks, for most tests.
TASKS = """
    import os, signal, time
    from pathlib import Path
    from bootsteps_tasks import App
    app = App("proj")

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def fail(*args):
        raise ValueError(*args)

    @app.task
    def nap(seconds, mark=None):
        if mark:
            with open(mark, "a") as file:
                file.write(f"{os.getpid()}\\n")
        time.sleep(seconds)
        return seconds

    @app.task
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(acks_late=False)
    def die_early():
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(bind=True)
    def whoami(self):
        request = self.request
        return {"id": request.id, "retries": request.retries, "hostname": request.hostname, "pid": os.getpid()}
"""


def until(true: Callable[[], object], what: str = "it", limit_s: float = LIMIT_S) -> None:
    """Wait until the condition holds; AssertionError when it does not in time."""
    ends = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < ends, f"{what} did not happen within {limit_s} s"
        time.sleep(0.01)


class WorkerProcess:
    """`kernel -A proj worker ...`, its standard output and error in `log`; `path` joins its PYTHONPATH."""

    def __init__(
        self, folder: Path, *args: str, broker: str = "", backend: str = "", command: Sequence[str] = (),
        path: Sequence[Path] = (), python: Path | str = sys.executable,
    ) -> None:  # fmt: skip
        self.path = folder / f"worker-{time.monotonic_ns()}.log"
        env = dict(os.environ, XDG_STATE_HOME=str(folder / "state"), PYTHONUNBUFFERED="1")
        env["PYTHONPATH"] = os.pathsep.join(map(str, [folder, *path]))
        if broker:
            env["KERNEL_BROKER_URL"] = broker
        if backend:
            env["KERNEL_RESULT_BACKEND"] = backend
        words = command or ("-A", "proj", "worker", "-l", "DEBUG", *args)
        with self.path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), "-m", "bootsteps", *words], cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.path.read_text(errors="replace")

    def until_logged(self, text: str, times: int = 1, limit_s: float = LIMIT_S) -> None:
        """Wait for a text in the log."""

        def seen() -> bool:
            assert self.process.poll() is None or self.log.count(text) >= times, f"the worker ended:\n{self.log}"
            return self.log.count(text) >= times

        try:
            until(seen, f"{text!r}", limit_s)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.log}") from None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the end and return the exit status."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {limit_s} s:\n{self.log}") from None

    def stop(self, limit_s: float = LIMIT_S) -> int:
        """End it warmly and return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(limit_s)

    def kill(self) -> None:
        """End it as the kernel's OOM killer would."""
        self.process.kill()
        self.process.wait()

    def children(self) -> list[int]:
        """The process ids of its children."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def running_worker(
    folder: Path,
    *args: str,
    app: str = TASKS,
    broker: str = "",
    backend: str = "",
    ready: bool = True,
    path: Sequence[Path] = (),
) -> Iterator[WorkerProcess]:
    """Write the application, start a worker on it, and end it in any case."""
    (folder / "proj.py").write_text(textwrap.dedent(app))
    worker = WorkerProcess(folder, *args, broker=broker, backend=backend, path=path)
    try:
        if ready:
            worker.until_logged(" ready.")
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()
