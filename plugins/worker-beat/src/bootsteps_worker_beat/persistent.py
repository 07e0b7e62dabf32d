"""The scheduler that remembers in a file, which several may share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bootsteps_worker_beat.entry import ScheduleEntry
from bootsteps_worker_beat.scheduler import Scheduler
from bootsteps_worker_beat.store import Row, Store

__all__ = ["PersistentScheduler"]

log = logging.getLogger("beat")


class PersistentScheduler(Scheduler):
    """Remembers in an SQLite file. Of several on one file, one sends each tick."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename: str = kwargs.pop("schedule_filename", None) or ""
        self._store: Store | None = None
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Open the file, and take from it when the entries of the settings were sent last."""
        self.schedule_filename = self.schedule_filename or self.app.conf.beat_schedule_filename
        self._store = Store(self.schedule_filename)
        super().setup_schedule()

    def merge_inplace(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        super().merge_inplace(entries)
        if self._store is None:
            return
        wanted = {name: (_definition(entry), _seconds(entry.last_run_at)) for name, entry in self.schedule.items()}
        for name, row in self._store.merge(wanted).items():
            _take(self.schedule[name], row)

    @contextmanager
    def claim(self, entry: ScheduleEntry) -> Iterator[bool]:
        """Hold the file's lock while the entry is published: if that fails or we die, the tick stays due."""
        if self._store is None:
            yield True
            return
        with self._store.locked():
            row = self._store.read(entry.name)
            if row is not None:
                _take(entry, row)
            # Nobody's any more: another beat, whose settings do not have it, has deleted it.
            yield row is not None

    def note_run(self, entry: ScheduleEntry, last_run_at: datetime, total_run_count: int) -> None:
        super().note_run(entry, last_run_at, total_run_count)
        if self._store is not None:
            self._store.write(entry.name, _seconds(last_run_at), total_run_count)

    def sync(self) -> None:
        if self._store is not None:
            self._store.sync()

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def info(self) -> str:
        return f"db -> {self.schedule_filename or self.app.conf.beat_schedule_filename}"


def _definition(entry: ScheduleEntry) -> str:
    return f"{entry.schedule!r} {getattr(entry.schedule, 'tz', '')}"


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


def _take(entry: ScheduleEntry, row: Row) -> None:
    entry.last_run_at = datetime.fromtimestamp(row.last_run_at, UTC)
    entry.total_run_count = row.total_run_count
