"""What the monitor shows of tasks and workers, as text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootsteps_consumer_events.state import State
    from bootsteps_consumer_events.tasks import Task
    from bootsteps_consumer_events.workers import Worker


__all__ = [
    "MOST_SHOWN",
    "TASK_COLUMNS",
    "WORKER_COLUMNS",
    "Row",
    "about",
    "result",
    "task_rows",
    "traceback",
    "worker_rows",
]

TASK_COLUMNS = ("uuid", "name", "worker", "time", "state")
WORKER_COLUMNS = ("worker", "status", "active", "processed", "load", "pid", "software")
#: So many tasks are shown at most, those that came last.
MOST_SHOWN = 500
#: The moments of a task's life.
MOMENTS = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected")
#: Further facts of a task.
FACTS = (
    *("args", "kwargs", "result", "exception", "retries", "eta", "expires", "queue", "exchange", "routing_key"),
    *("parent_id", "root_id", "client"),
)

Row = tuple[str, tuple[str, ...]]


def task_rows(state: State, words: str = "") -> list[Row]:
    """Return (uuid, cells) of the tasks that have each of the words, the one that became known last first."""
    return list(islice(_tasks(state, words.lower().split()), MOST_SHOWN))


def _tasks(state: State, words: list[str]) -> Iterator[Row]:
    for uuid, task in reversed(list(state.itertasks())):
        worker = task.worker.hostname if task.worker is not None else ""
        cells = (uuid, task.name or "", worker, _clock(task.timestamp), task.state)
        if _has(cells, words):
            yield uuid, cells


def worker_rows(state: State, words: str = "") -> list[Row]:
    """Return (name, cells) of the workers that have each of the words, by name."""
    found = [(name, _worker(worker)) for name, worker in sorted(state.workers.items())]
    return [row for row in found if _has(row[1], words.lower().split())]


def _worker(worker: Worker) -> tuple[str, ...]:
    load = " ".join(f"{each:.2f}" for each in worker.loadavg or ())
    software = f"{worker.sw_ident or ''} {worker.sw_ver or ''}".strip()
    numbers = [_text(worker.active), _text(worker.processed), load, _text(worker.pid)]
    return (worker.hostname, worker.status_string, *numbers, software)


def _has(cells: tuple[str, ...], words: list[str]) -> bool:
    text = " ".join(cells).lower()
    return all(word in text for word in words)


def about(task: Task) -> str:
    """Return everything that is known of a task."""
    worker = task.worker.hostname if task.worker is not None else None
    facts = [("id", task.uuid), ("name", task.name), ("state", task.state), ("worker", worker)]
    facts += [(name, getattr(task, name)) for name in FACTS]
    facts += [("runtime", f"{task.runtime:.6f} s" if task.runtime is not None else None)]
    facts += [(moment, _clock(at, exactly=True)) for moment in MOMENTS if (at := getattr(task, moment)) is not None]
    lines = [f"{name:>12}  {value}" for name, value in facts if value is not None]
    if task.children:
        lines.append(f"{'children':>12}  {', '.join(sorted(child.uuid for child in task.children))}")
    return "\n".join(lines) + (f"\n\n{task.traceback}" if task.traceback else "")


def result(task: Task, stored: str | None = None) -> str:
    """Return a task's result or what became of it; `stored` is what the result backend says."""
    if task.state == "SUCCESS":
        return stored if stored is not None else _text(task.result)
    if task.exception:
        return f"{task.state}: {task.exception}"
    return f"no result: {task.state}"


def traceback(task: Task) -> str:
    """Return where a task failed."""
    return task.traceback or f"no traceback: {task.state}"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _clock(at: float | None, exactly: bool = False) -> str:
    """Return a moment as this machine's clock shows it."""
    if at is None:
        return ""
    return f"{datetime.fromtimestamp(at):{'%Y-%m-%d %H:%M:%S.%f' if exactly else '%H:%M:%S'}}"
