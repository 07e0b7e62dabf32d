"""Beat as an object, which a program or a worker's timer drives."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bootsteps import KernelError
from bootsteps_worker_beat.settings import SETTINGS, load_scheduler

if TYPE_CHECKING:
    from bootsteps_worker_beat.scheduler import Scheduler

__all__ = ["Service"]

log = logging.getLogger("beat")
#: After something went wrong that is nobody's task, seconds until the next look.
PAUSE_S = 5.0
#: In a worker the loop waits for a publication, in seconds at most.
EMBEDDED_PUBLISH_S = 2.0


class Service:
    """Has a scheduler look at its schedule again and again. `scheduler` and `schedule` are for listeners of hooks."""

    def __init__(
        self, app: Any, max_interval: float | None = None, schedule_filename: str | None = None, scheduler: Any = None
    ) -> None:
        app.conf.declare(SETTINGS)
        self.app = app
        self.max_interval = max_interval
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.scheduler_cls = scheduler or app.conf.beat_scheduler

    @cached_property
    def scheduler(self) -> Scheduler:
        """The scheduler, opened when it is asked for. Raises `KernelError`."""
        try:
            kind = load_scheduler(self.scheduler_cls)
        except (ImportError, AttributeError, ValueError) as exc:
            what = f"beat_scheduler {self.scheduler_cls!r} cannot be found: {exc}"
            raise KernelError(what, ("setting beat_scheduler",), "module:Class") from exc
        made: Scheduler = kind(app=self.app, max_interval=self.max_interval, schedule_filename=self.schedule_filename)
        return made

    @property
    def schedule(self) -> Any:
        """The entries by name."""
        return self.scheduler.schedule

    def open(self, hooks: Any, embedded: bool = False) -> None:
        """Get ready to send, and tell so. Raises `KernelError`."""
        count = len(self.schedule)
        if embedded:
            self.scheduler.publish_timeout_s = EMBEDDED_PUBLISH_S
        hooks.announce("beat_init", service=self)
        if embedded:
            hooks.announce("beat_embedded_init", service=self)
        log.info("beat: %d periodic tasks, looked at every %g s and less; %s", count, self.scheduler.max_interval,
                 self.scheduler.info)  # fmt: skip

    def tick(self) -> float:
        """Send what is due; return after how many seconds to call this again. Raises nothing."""
        try:
            return float(self.scheduler.tick())
        except Exception:
            log.exception("beat could not look at its schedule; trying again in %g s", PAUSE_S)
            return PAUSE_S

    def close(self) -> None:
        """Release the scheduler, if there is one."""
        scheduler = self.__dict__.pop("scheduler", None)
        if scheduler is not None:
            scheduler.close()
