"""Periodic tasks: schedules, the scheduler, `kernel beat` and the worker step `Beat`.

app.conf.beat_schedule = {"every morning": {"task": "proj.report", "schedule": crontab(minute=30, hour=7)}}
"""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
from bootsteps_worker_beat.keys import BEAT

if TYPE_CHECKING:
    from bootsteps_worker_beat.cron import crontab
    from bootsteps_worker_beat.entry import BeatLazyFunc, ScheduleEntry
    from bootsteps_worker_beat.errors import ScheduleError
    from bootsteps_worker_beat.persistent import PersistentScheduler
    from bootsteps_worker_beat.scheduler import Scheduler
    from bootsteps_worker_beat.schedules import BaseSchedule, schedstate, schedule
    from bootsteps_worker_beat.sun import solar

__all__ = [
    "BEAT",
    "BaseSchedule",
    "BeatLazyFunc",
    "PersistentScheduler",
    "ScheduleEntry",
    "ScheduleError",
    "Scheduler",
    "crontab",
    "schedstate",
    "schedule",
    "solar",
]

__getattr__ = lazily(
    __name__,
    {
        "BaseSchedule": "schedules",
        "BeatLazyFunc": "entry",
        "PersistentScheduler": "persistent",
        "ScheduleEntry": "entry",
        "ScheduleError": "errors",
        "Scheduler": "scheduler",
        "crontab": "cron",
        "schedstate": "schedules",
        "schedule": "schedules",
        "solar": "sun",
    },
)
