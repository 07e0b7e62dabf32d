"""The result backend `sqlite`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from bootsteps_result_sqlite.connection import Connections, path_of
from bootsteps_result_sqlite.rows import from_row, stamp, to_row
from bootsteps_result_sqlite.schema import EXTENDED, PLAIN, delete_before, select, upsert
from bootsteps_tasks.process import PerProcess

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["SqliteBackend"]

#: Seconds between two looks at `pragma data_version`.
SHORTEST_S, LONGEST_S = 0.001, 0.02
#: A look at many ids may cost a quarter of the time at most.
REST = 3
#: Seconds between two clean-ups.
CLEANUP_EVERY_S = 60.0
CLEANUP_ROWS = 10_000


class SqliteBackend:
    """Results in one file, made 0600 in a folder made 0700; many processes may use it. Safe from any thread.

    A process that was killed loses nothing that `store` returned for; a power cut may cost the last moments (WAL with
    synchronous NORMAL). Raises `SettingError` for a URL that names no file.
    """

    def __init__(self, app: App, url: str) -> None:
        conf = app.conf
        self.path = path_of(url)
        self._columns = (*PLAIN, *EXTENDED) if conf["result_extended"] else PLAIN
        self._serializer: str = conf["result_serializer"]
        accept = conf["result_accept_content"]
        self._accept = frozenset({self._serializer, *(conf["accept_content"] if accept is None else accept)})
        self._expires_s: float = conf["result_expires"] or 0.0
        self._connections = PerProcess(lambda: Connections(self.path))
        self._upsert = upsert(self._columns)
        self._cleanup_lock = Lock()
        self._cleanup_at = monotonic() + CLEANUP_EVERY_S

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Store a batch in one transaction. A stored SUCCESS stays. See `bootsteps_tasks.Backend`."""
        rows = [to_row(meta, self._columns, self._serializer) for meta in metas]
        if rows:
            self._connections.get().write(lambda con: con.executemany(self._upsert, rows))
        self._cleanup_now_and_then()

    def get(self, task_id: str) -> dict[str, Any] | None:
        """Return the meta object, None when nothing is stored."""
        return self._read((task_id,)).get(task_id)

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the meta objects that are stored."""
        return self._read(ids)

    def wait(self, ids: Collection[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
        """Return those that are ready as soon as one is; empty after `timeout` seconds.

        Between looks it asks only whether anybody committed (`pragma data_version`), first after 1 ms, then up to every
        20 ms. README.md has the measured cost.
        """
        wanted = list(ids)
        until = None if timeout is None else monotonic() + timeout
        version, pause, longest = -1, SHORTEST_S, LONGEST_S
        while True:
            # Before the rows: what is committed between the two is seen at the next turn.
            now = self._version()
            if now != version:
                version, began = now, monotonic()
                found = self._read(wanted, ready_only=True)
                if found:
                    return found
                cost = monotonic() - began
                pause, longest = max(SHORTEST_S, REST * cost), max(LONGEST_S, REST * cost)
            left = longest if until is None else until - monotonic()
            if left <= 0:
                return {}
            sleep(min(pause, left))
            pause = min(pause * 1.5, longest)

    def forget(self, task_id: str) -> None:
        """Delete the result."""
        self._connections.get().write(
            lambda con: con.execute("delete from celery_taskmeta where task_id = ?", (task_id,))
        )

    def cleanup(self) -> int:
        """Delete results older than `result_expires`, up to 10,000 at a time. Returns how many."""
        if not self._expires_s:
            return 0
        before = stamp(datetime.now(UTC) - timedelta(seconds=self._expires_s))
        return self._connections.get().write(lambda con: _delete(con, before))

    def close(self) -> None:
        """Close the file; it reopens when used."""
        connections = self._connections.drop()
        if connections is not None:
            connections.close()

    def _read(self, ids: Iterable[str], *, ready_only: bool = False) -> dict[str, dict[str, Any]]:
        statement = select(self._columns, ready_only=ready_only)
        with self._connections.get().reading() as con:
            rows = con.execute(statement, (json.dumps(list(ids)),)).fetchall()
        metas = (from_row(row, self._columns, self._serializer, self._accept) for row in rows)
        return {meta["task_id"]: meta for meta in metas}

    def _version(self) -> int:
        with self._connections.get().reading() as con:
            version: int = con.execute("pragma data_version").fetchone()[0]
        return version

    def _cleanup_now_and_then(self) -> None:
        if monotonic() < self._cleanup_at or not self._cleanup_lock.acquire(blocking=False):
            return
        try:
            self._cleanup_at = monotonic() + CLEANUP_EVERY_S
            self.cleanup()
        finally:
            self._cleanup_lock.release()


def _delete(con: sqlite3.Connection, before: str) -> int:
    tables = ("celery_taskmeta", "celery_tasksetmeta")
    return sum(con.execute(delete_before(table), (before, CLEANUP_ROWS)).rowcount for table in tables)
