"""One periodic task: what is called, when, and when it last was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bootsteps.errors import did_you_mean
from bootsteps_worker_beat.errors import ScheduleError
from bootsteps_worker_beat.schedules import BaseSchedule, aware, maybe_schedule

__all__ = ["BeatLazyFunc", "ScheduleEntry", "read_entries"]

KEYS = ("task", "schedule", "args", "kwargs", "options", "relative")


class BeatLazyFunc:
    """An argument that is made each time that the task is sent: `BeatLazyFunc(datetime.now)`."""

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func, self._args, self._kwargs = func, args, kwargs

    def __call__(self) -> Any:
        return self._func(*self._args, **self._kwargs)


class ScheduleEntry:
    """A task with its schedule. `is_due()` as in Celery."""

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name or str(task)
        self.task = task
        self.args, self.kwargs, self.options = args or (), dict(kwargs or {}), dict(options or {})
        self.schedule: BaseSchedule = maybe_schedule(schedule, relative, app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """Return the present moment in the schedule's zone."""
        return self.schedule.now()

    def is_due(self) -> Any:
        """Return (is it due, seconds until it should be asked again)."""
        return self.schedule.is_due(self.last_run_at)

    def due_at(self) -> datetime:
        """Return when it is due; in the past when that was missed."""
        found = getattr(self.schedule, "due_at", None)
        if found is None:  # a schedule of Celery's
            return BaseSchedule.due_at(self.schedule, self.last_run_at, self.default_now())
        return aware(found(aware(self.last_run_at), self.default_now()))

    def call(self) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        """Return arguments and options of one call."""
        options = dict(self.options)
        options["headers"] = {**(options.get("headers") or {}), "celery_beat_task": True}  # as Celery's beat
        kwargs = {name: _value(value) for name, value in self.kwargs.items()}
        return [_value(value) for value in self.args], kwargs, options

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} {self.task} {self.schedule!r}>"


def _value(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value


def read_entries(value: Any) -> dict[str, dict[str, Any]]:
    """Return `beat_schedule` as it is. Raises ValueError with a sentence for what is wrong in it."""
    if not isinstance(value, Mapping):
        raise ValueError("it is a mapping from names to entries")
    for name, entry in value.items():
        if not isinstance(entry, Mapping):
            raise ValueError(f"the entry {name!r} is a mapping with task and schedule")
        for key in entry:
            if key not in KEYS:
                raise ValueError(f"the entry {name!r} has no {key!r}; {did_you_mean(key, KEYS)}".rstrip("; "))
        if not isinstance(entry.get("task"), str):
            raise ValueError(f"the entry {name!r} needs a task: its name")
        try:
            maybe_schedule(entry.get("schedule"))
        except ScheduleError as exc:
            raise ValueError(f"the entry {name!r}: {exc.what}") from exc
    return {str(name): dict(entry) for name, entry in value.items()}
