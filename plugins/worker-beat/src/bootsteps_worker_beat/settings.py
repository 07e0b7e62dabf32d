"""The settings of beat, under Celery's names."""

from __future__ import annotations

from typing import Any

from bootsteps import Setting

__all__ = [
    "DEADLINE",
    "EMBEDDED",
    "FILENAME",
    "LOOP",
    "REMOTE",
    "SCHEDULE",
    "SCHEDULER",
    "SETTINGS",
    "SYNC",
    "load_scheduler",
]

OURS = "bootsteps_worker_beat:PersistentScheduler"
#: Those that Celery's users may have named.
CELERYS = {
    "celery.beat:PersistentScheduler": OURS,
    "celery.beat.PersistentScheduler": OURS,
    "celery.beat:Scheduler": "bootsteps_worker_beat:Scheduler",
    "celery.beat.Scheduler": "bootsteps_worker_beat:Scheduler",
}


def _not_negative(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not number >= 0:
        raise ValueError("it is a number from 0 on")
    return number


def _scheduler(value: Any) -> Any:
    if not (isinstance(value, str) or callable(value)):
        raise ValueError("it is a class, or module:Class")
    return CELERYS.get(value, value) if isinstance(value, str) else value


def _entries(value: Any) -> Any:
    from bootsteps_worker_beat.entry import read_entries  # few have a schedule, and all have this setting

    return read_entries(value)


def load_scheduler(value: Any) -> Any:
    """Return the class that the setting names. Raises ImportError, AttributeError or ValueError."""
    from pkgutil import resolve_name

    return resolve_name(value) if isinstance(value, str) else value


EMBEDDED = Setting[bool](
    "worker_beat", bool, False, flags=("-B", "--beat"), help="send periodic tasks too (in one worker of all)"
)
SCHEDULE = Setting[Any]("beat_schedule", _entries, {}, flags=(), help="periodic tasks: name to entry")
FILENAME = Setting[str](
    "beat_schedule_filename",
    str,
    "beat-schedule.db",
    flags=("-s", "--schedule", "--schedule-filename"),
    help="the file that remembers when each periodic task was sent last",
)
SCHEDULER = Setting[Any](
    "beat_scheduler", _scheduler, OURS, flags=("--scheduler",), help="the class that sends, as module:Class"
)
LOOP = Setting[float](
    "beat_max_loop_interval",
    _not_negative,
    0.0,
    unit="s",
    flags=(),
    help="the longest time between two looks at the schedule; 0 = as the scheduler likes (300)",
)
SYNC = Setting[int](
    "beat_sync_every", int, 0, flags=(), help="write the schedule to the disk after so many tasks; 0 = every 180 s"
)
DEADLINE = Setting[float | None](
    "beat_cron_starting_deadline",
    _not_negative,
    None,
    unit="s",
    flags=(),
    help="how late a missed crontab may still be sent; default: however late",
)
REMOTE = Setting[bool](
    "beat_enable_remote_control", bool, False, flags=(), help="kernel beat answers inspect ping as celerybeat@host"
)
SETTINGS = (SCHEDULE, FILENAME, SCHEDULER, LOOP, SYNC, DEADLINE, REMOTE)
