"""Three pairs on each broker: our client and worker, a Celery client with our worker, our client with a Celery worker.

A test takes the fixture `pair` (see conftest.py) and says what it has to say through it: `pair.add.s(1, 2)`,
`pair.group(...)`. It never names a side, so that the same body runs for each pair. One worker per pair serves the whole
session; to add a task, write it into `TASKS` in words that both sides understand.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers import WorkerProcess, until

__all__ = ["PAIRS", "Pair", "PairKind", "running_pair"]

OURS = """
from bootsteps_tasks import App, Task, StampingVisitor, chain, chord, group, signature
from bootsteps_tasks.errors import ChordError, Ignore, MaxRetriesExceededError, NotRegistered, Reject
from bootsteps_tasks.errors import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from bootsteps_tasks import GroupResult
"""
THEIRS = """
from celery import Celery as App, Task, chain, chord, group, signature
from celery.canvas import StampingVisitor
from celery.exceptions import ChordError, Ignore, MaxRetriesExceededError, NotRegistered, Reject
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from celery.result import GroupResult
"""

#: What both sides know: settings, then tasks.
TASKS = """
import os
import time

app = App("proj", broker={broker!r}, backend={backend!r}, task_default_queue={queue!r})
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4, result_chord_retry_interval=0.1)
NOTES = {notes!r}


@app.task
def add(x, y):
    return x + y


@app.task
def number(n=0):
    return n


@app.task
def same(x):
    return x


@app.task
def total(xs):
    return xs if isinstance(xs, int) else sum(total(x) for x in xs)


@app.task
def fail(*args):
    raise ValueError("bad", 42)


@app.task
def note(what, word="noted"):
    with open(NOTES, "a") as file:
        file.write(f"{{word}} {{what}}\\n")
    return what


@app.task
def told(request, exc, traceback):
    with open(NOTES, "a") as file:
        file.write(f"told {{request.id}} {{exc!r}}\\n")


@app.task(bind=True)
def request(self, *names):
    found = self.request
    return {{name: getattr(found, name) for name in names if isinstance(name, str)}}


@app.task(bind=True, max_retries=3)
def again(self, x, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.2)  # not sooner: Celery writes RETRY when the next try may have written SUCCESS
    return x


@app.task(bind=True, autoretry_for=(OSError,), retry_kwargs={{"max_retries": 3, "countdown": 0.2}})
def flaky(self, times):
    if self.request.retries < times:
        raise ConnectionError("down")
    return self.request.retries


@app.task
def nap(seconds, mark):
    open(mark, "w").close()
    time.sleep(seconds)


@app.task
def patient(seconds):
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "caught"


@app.task(bind=True)
def steps(self, go):
    self.update_state(state="PROGRESS", meta={{"done": 1}})
    while not os.path.exists(go):
        time.sleep(0.01)
    return self.request.id


@app.task(bind=True)
def ignores(self):
    note(self.request.id, "ignored")
    raise Ignore()


@app.task
def rejects():
    raise Reject("no")


@app.task(bind=True)
def chained_instead(self, x):
    raise self.replace(chain(add.s(x, 100), add.s(1000)))


@app.task(bind=True)
def grouped_instead(self, x):
    raise self.replace(group(add.s(x, 100), add.s(x, 1000)))


@app.task(bind=True)
def chord_instead(self, x):
    raise self.replace(chord([add.s(x, 100), add.s(x, 1000)], total.s()))


@app.task(bind=True)
def one_more(self, x):
    self.add_to_chord(add.s(x, 1000))
    return x


@app.task
def publishes(n):
    return [add.delay(i, i).id for i in range(n)]


@app.task(trail=False)
def publishes_quietly(n):
    return [add.delay(i, i).id for i in range(n)]
"""


@dataclass(frozen=True)
class PairKind:
    """Who asks, who runs, and where they meet."""

    client: str
    worker: str
    broker: str
    #: Where results are.
    backend: str = "redis"

    def __str__(self) -> str:
        return f"{self.client}-{self.worker}-{self.broker}{'' if self.backend == 'redis' else '-' + self.backend}"


PAIRS = (
    PairKind("ours", "ours", "redis"),
    PairKind("ours", "ours", "amqp"),
    PairKind("ours", "ours", "sqlite", "sqlite"),
    PairKind("ours", "ours", "redis", "sql"),
    PairKind("celery", "ours", "redis", "sql"),
    PairKind("ours", "celery", "redis", "sql"),
    PairKind("celery", "ours", "redis"),
    PairKind("celery", "ours", "amqp"),
    PairKind("ours", "celery", "redis"),
    PairKind("ours", "celery", "amqp"),
)


class Pair:
    """A client, and a worker that runs. What is not here is looked up in the client's module: tasks, kinds."""

    def __init__(
        self, kind: PairKind, module: Any, worker: Any, notes: Path, urls: tuple[str, str], queue: str
    ) -> None:
        self.kind = kind
        self.module = module
        self.worker = worker
        self.broker_url, self.backend_url = urls
        self.queue = queue
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def notes(self) -> list[str]:
        """Return the lines that tasks wrote."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def until_noted(self, line: str) -> None:
        """Wait for a line."""
        until(lambda: line in self.notes(), f"{line!r} in {self.notes()}")


@contextmanager
def running_pair(kind: PairKind, folder: Path, broker: str, backend: str) -> Iterator[Pair]:
    """Start the worker and lend the pair."""
    queue, notes = f"pair-{os.getpid()}-{time.monotonic_ns()}", folder / "notes"
    facts = {"broker": broker, "backend": backend, "queue": queue, "notes": str(notes)}
    text = TASKS.format(**facts)
    module = _module(folder, kind, (OURS if kind.client == "ours" else THEIRS) + text)
    ours = 'app.conf.override({"worker_unknown_task_delays": (0.1,)})\n'
    (folder / "proj.py").write_text(OURS + text + ours if kind.worker == "ours" else THEIRS + text)
    # A name of its own: others run beside it, and RabbitMQ gives the mailbox of a name to one.
    make = OurProcess if kind.worker == "ours" else CeleryProcess
    worker = make(folder, f"{queue}@%h")
    try:
        worker.until_logged(" ready.", limit_s=60)
        yield Pair(kind, module, worker, notes, (broker, backend), queue)
    finally:
        _close(module.app)
        try:
            worker.stop()
        finally:
            if worker.process.poll() is None:
                worker.kill()


def _module(folder: Path, kind: PairKind, text: str) -> Any:
    """Import the client's module: also named `proj`, so that the tasks have the same names."""
    path = folder / "client.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("proj", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.app.set_current()
    return module


def _close(app: Any) -> None:
    if hasattr(app.backend, "result_consumer"):
        app.backend.result_consumer.stop()
    app.close()


class OurProcess(WorkerProcess):
    """`kernel -A proj worker`."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, "-c", "2", "-n", name)


class CeleryProcess(WorkerProcess):
    """`celery -A proj worker`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / "celery.log"
        words = ["celery", "-A", "proj", "worker", "-c", "2", "-n", name, "-l", "INFO"]
        words += ["--without-mingle", "--without-gossip"]
        with self.path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
