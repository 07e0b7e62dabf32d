"""Sends what is due. This one keeps in memory when that was."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

from bootsteps import KernelError, deadline
from bootsteps.errors import DeadlineExceeded
from bootsteps_worker_beat import clock
from bootsteps_worker_beat.entry import ScheduleEntry
from bootsteps_worker_beat.settings import SETTINGS

__all__ = ["Scheduler"]

log = logging.getLogger("beat")
#: So many tasks are sent before others may use the thread.
MOST_AT_ONCE = 50
#: And a connection that failed to do so is closed within this.
CLOSE_S = 1.0
#: Seconds before the next attempt to send what could not be sent: doubling, up to the last.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
#: The clock was put forward or back if it went so much faster or slower than real time, in seconds.
JUMP_S = 1.0
#: Seconds between two calls of `sync`.
SYNC_S = 180.0


class _Late(BaseException):
    """A publication takes too long. An `Exception` would be one more error of the connection to those who try again."""


class Scheduler:
    """Base of schedulers, with Celery's names: `tick`, `schedule`, `setup_schedule`, `apply_entry`, `sync`, `close`.

    One thread uses it. `lazy` = nothing is opened or sent, for a look at its settings.
    """

    Entry: ClassVar[type[ScheduleEntry]] = ScheduleEntry
    #: Longest time between two looks, in seconds.
    max_interval: float = 300.0
    #: A task is to be published within so many seconds.
    publish_timeout_s: float = 5.0

    def __init__(
        self,
        app: Any,
        schedule: dict[str, ScheduleEntry] | None = None,
        max_interval: float | None = None,
        Producer: Any = None,
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        app.conf.declare(SETTINGS)
        self.data: dict[str, ScheduleEntry] = {} if schedule is None else schedule
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        self._heap: list[tuple[float, str]] | None = None
        self._known: Mapping[str, ScheduleEntry] = {}
        self._failures: dict[str, int] = {}
        self._drift = clock.now() - clock.elapsed()
        self._synced, self._sent_since = clock.elapsed(), 0
        if not lazy:
            self.setup_schedule()

    @property
    def schedule(self) -> dict[str, ScheduleEntry]:
        """The entries by name."""
        return self.data

    def setup_schedule(self) -> None:
        """Take the entries from the settings."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def merge_inplace(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Have exactly these entries, those that were there with the time of their last run."""
        before, made = dict(self.schedule), {}
        for name, given in entries.items():
            made[name] = self.Entry(**{**given, "name": name, "app": self.app})
            if name in before:
                made[name].last_run_at = before[name].last_run_at
                made[name].total_run_count = before[name].total_run_count
        self.schedule.clear()
        self.schedule.update(made)
        self._heap = None

    def add(self, **fields: Any) -> ScheduleEntry:
        """Add or replace one entry."""
        entry = self.Entry(app=self.app, **fields)
        self.schedule[entry.name] = entry
        self._heap = None
        return entry

    def tick(self) -> float:
        """Send what is due, and return after how many seconds to call this again."""
        self._see_jumps()
        heap = self._heap
        if heap is None or self._known != self.schedule:
            heap = self._heap = self._arrange()
        now = clock.now()
        for _ in range(MOST_AT_ONCE):
            if not heap or heap[0][0] > now:
                break
            name = heapq.heappop(heap)[1]
            when = self._attend(self.schedule[name])
            heapq.heappush(heap, (when, name))
        self._sync_sometimes()
        return min(max(0.0, heap[0][0] - clock.now()), self.max_interval) if heap else self.max_interval

    def _see_jumps(self) -> None:
        """After the clock was put forward or back, what is due when is to be found out anew."""
        drift = clock.now() - clock.elapsed()
        if abs(drift - self._drift) > JUMP_S:
            log.warning("the clock was put %s by %.1f s", "forward" if drift > self._drift else "back",
                        abs(drift - self._drift))  # fmt: skip
            self._heap = None
        self._drift = drift

    def _arrange(self) -> list[tuple[float, str]]:
        self._known = dict(self.schedule)
        heap = [(self._when(entry), name) for name, entry in self.schedule.items()]
        heapq.heapify(heap)
        return heap

    def _when(self, entry: ScheduleEntry) -> float:
        """Return when an entry is to be attended to (Unix seconds). One that cannot tell must not stop the others."""
        try:
            self._see_future(entry)
            return entry.due_at().timestamp()
        except Exception:
            log.exception("it cannot be told when %r is due; trying again in %g s", entry.name, self.max_interval)
            return clock.now() + self.max_interval

    def _see_future(self, entry: ScheduleEntry) -> None:
        """A run in the future was before the clock was put back: do not repeat it, and do not wait for ever either."""
        if not _is_ahead(entry):
            return
        with self.claim(entry):
            if _is_ahead(entry):
                self.note_run(entry, clock.moment(), entry.total_run_count)

    def _attend(self, entry: ScheduleEntry) -> float:
        """Send an entry if it is due and nobody else has; return when it is to be looked at again."""
        try:
            with self.claim(entry) as mine:
                if not mine:
                    return clock.now() + self.max_interval
                due, now = entry.due_at(), clock.moment()
                if due <= now:
                    self.apply_entry(entry)
                    self.note_run(entry, _anchor(entry, due, now), entry.total_run_count + 1)
        except Exception as exc:
            return clock.now() + self._failed(entry, exc)
        self._failures.pop(entry.name, None)
        return self._when(entry)

    def _failed(self, entry: ScheduleEntry, exc: Exception) -> float:
        """Log it once, and return after how many seconds to try again: it stays due."""
        times = self._failures.get(entry.name, 0)
        self._failures[entry.name] = times + 1
        level = logging.DEBUG if times else logging.ERROR
        usual = isinstance(exc, (KernelError, OSError)) or type(exc).__module__.startswith(("kombu", "amqp", "redis"))
        text = exc.what if isinstance(exc, KernelError) else f"{type(exc).__name__}: {exc}"
        log.log(level, "%s (%s) could not be sent, and stays due: %s", entry.name, entry.task, text,
                exc_info=None if usual else exc)  # fmt: skip
        return PAUSES[min(times, len(PAUSES) - 1)]

    @contextmanager
    def claim(self, entry: ScheduleEntry) -> Iterator[bool]:
        """Hold an entry while it is sent, with the newest state of it; yields whether it may be."""
        yield True

    def note_run(self, entry: ScheduleEntry, last_run_at: datetime, total_run_count: int) -> None:
        """Remember when an entry was sent last, and how often it was."""
        entry.last_run_at, entry.total_run_count = last_run_at, total_run_count

    def apply_entry(self, entry: ScheduleEntry) -> Any:
        """Publish an entry's task now; raises what the publication raises."""
        log.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            with deadline(self.publish_timeout_s, _Late):  # type: ignore[arg-type]
                sent = self.apply_async(entry)
        except _Late as exc:
            self._drop_connection()
            raise DeadlineExceeded(f"it was not published within {self.publish_timeout_s:g} s") from exc
        self._sent_since += 1
        log.debug("%s sent. id->%s", entry.task, sent.id)
        return sent

    def _drop_connection(self) -> None:
        """What was cut in the midst of a message cannot be used again; the next one opens another."""
        with suppress(Exception, _Late), deadline(CLOSE_S, _Late):  # type: ignore[arg-type]
            self.app.close()

    def apply_async(self, entry: ScheduleEntry) -> Any:
        """Publish an entry's task and return its result."""
        args, kwargs, options = entry.call()
        # Not tried again at once: the tick stays due, and the thread may have others to serve.
        return self.app.send_task(
            self.app.tasks.get(entry.task) or entry.task, args, kwargs, **{"retry": False, **options}
        )

    def _sync_sometimes(self) -> None:
        often = bool(self.sync_every_tasks) and self._sent_since >= self.sync_every_tasks
        if often or clock.elapsed() - self._synced > SYNC_S:
            self._synced, self._sent_since = clock.elapsed(), 0
            self.sync()

    def sync(self) -> None:
        """Write what is remembered to the disk."""

    def close(self) -> None:
        """Release everything."""
        self.sync()

    @property
    def info(self) -> str:
        """Where it remembers, for people."""
        return ""


def _is_ahead(entry: ScheduleEntry) -> bool:
    return entry.last_run_at > clock.moment() + getattr(entry.schedule, "ahead_most", timedelta())


def _anchor(entry: ScheduleEntry, due: datetime, now: datetime) -> datetime:
    anchor = getattr(entry.schedule, "anchor", None)
    return now if anchor is None else anchor(due, now)
