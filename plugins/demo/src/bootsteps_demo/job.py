"""The job: one task for each file, and one to sum up."""

from __future__ import annotations

import logging
import os
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootsteps import KernelError
from bootsteps_demo.app import Measure, Summary, app, measure, summarise
from bootsteps_demo.supervisor import Supervisor

__all__ = ["Answers", "JobFailed", "python_files", "run_job"]

#: How long to wait without any answer before giving up.
PATIENCE_S = 60.0
#: Look at the worker at least this often.
GLANCE_S = 0.25

log = logging.getLogger("bootsteps_demo")


class JobFailed(KernelError):
    """Not every file was answered exactly once."""

    exit_status = 1


@dataclass
class Answers:
    """What came back."""

    measures: dict[str, Measure] = field(default_factory=dict)
    #: Path to the exception's text.
    errors: dict[str, str] = field(default_factory=dict)
    summary: Summary | None = None
    #: Wall time from the first publish to the last answer.
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.measures) + len(self.errors)


def python_files(folder: Path | None = None) -> list[Path]:
    """Return the Python files below a folder, by default those of the running interpreter's standard library."""
    root = folder or Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "dist-packages", "__pycache__"} if folder is None else {"__pycache__"}
    found = []
    for base, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - skipped)
        found += [Path(base, name) for name in sorted(names) if name.endswith(".py")]
    return found


def run_job(
    files: list[Path], worker: Supervisor, progress: Callable[[int], None], tell: Callable[[str], None]
) -> Answers:
    """Have every file measured and the measures summed up. Raises `JobFailed` or `WorkerFailed`."""
    answers = Answers()
    began = time.monotonic()
    results = app.send_many((measure, (str(path),), {}, {}) for path in files)
    pending = {result.id: str(path) for result, path in zip(results, files, strict=True)}
    for task_id, answer in _answers(set(pending), worker, tell):
        path = pending.pop(task_id)
        if answer["status"] == "SUCCESS":
            answers.measures[path] = answer["result"]
        else:
            answers.errors[path] = _error(answer)
        progress(1)
    answers.seconds = time.monotonic() - began
    _check(files, answers)
    answers.summary = _sum_up(answers, worker, tell)
    return answers


def _answers(ids: set[str], worker: Supervisor, tell: Callable[[str], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (task id, meta object) as they come; replace the worker when it dies."""
    heard = time.monotonic()
    while ids:
        ready = app.backend.wait(ids, GLANCE_S)
        for task_id in ready:
            ids.discard(task_id)
            yield task_id, ready[task_id]
        if ready:
            heard = time.monotonic()
        if death := worker.check():
            tell(f"the worker died of {death}; started another, process {worker.pid}")
            heard = time.monotonic()
        if time.monotonic() - heard > PATIENCE_S:
            raise JobFailed(
                f"no answer for {PATIENCE_S:g} s, {len(ids)} are missing", worker.tail(), f"see {worker.log}"
            )


def _error(answer: dict[str, Any]) -> str:
    found = answer["result"]
    message = found.get("exc_message") or ""
    text = message[0] if isinstance(message, list) and message else message
    return f"{found.get('exc_type')}: {text}"


def _check(files: list[Path], answers: Answers) -> None:
    asked = [str(path) for path in files]
    twice = sorted(set(answers.measures) & set(answers.errors))
    missing = sorted(set(asked) - set(answers.measures) - set(answers.errors))
    wrong = sorted(path for path, found in answers.measures.items() if found["path"] != path)
    if twice or missing or wrong or len(answers) != len(asked):
        counts = f"{len(missing)} missing, {len(twice)} twice, {len(wrong)} mixed up"
        what = f"{len(asked)} files, {len(answers)} answers: {counts}"
        raise JobFailed(what, (*missing[:3], *twice[:3], *wrong[:3]))
    with app.connection() as connection:
        left = app.queues()[0](connection.channel()).queue_declare(passive=True).message_count
    if left:
        raise JobFailed(f"every file is answered, but {left} messages are left in the queue")


def _sum_up(answers: Answers, worker: Supervisor, tell: Callable[[str], None]) -> Summary:
    measures = [answers.measures[path] for path in sorted(answers.measures)]
    result = summarise.delay(measures)
    [(_, answer)] = _answers({result.id}, worker, tell)
    if answer["status"] != "SUCCESS":
        raise JobFailed(f"the summary failed: {_error(answer)}")
    summary: Summary = answer["result"]
    return summary
