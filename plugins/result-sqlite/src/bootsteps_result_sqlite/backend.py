"""The result backend `sqlite`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any

from bootsteps_result_sqlite.chords import Chords, delete_chords_before
from bootsteps_result_sqlite.cleaning import NowAndThen
from bootsteps_result_sqlite.connection import Connections, path_of
from bootsteps_result_sqlite.rows import from_row, stamp, to_row
from bootsteps_result_sqlite.schema import EXTENDED, PLAIN, SAVE_GROUP, delete_before, select, upsert
from bootsteps_tasks.backend import Claim, Part, decode, encode
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
        serializer, accept_ = self._serializer, self._accept
        dumps, loads = partial(encode, serializer=serializer), partial(decode, serializer=serializer, accept=accept_)
        self._chords = Chords(self._connections.get, dumps, loads)
        self._dumps, self._loads = dumps, loads
        chord_s = conf["result_chord_expires"]
        self._chord_s: float = self._expires_s if chord_s is None else chord_s
        self._upsert = upsert(self._columns)
        self._now_and_then = NowAndThen(CLEANUP_EVERY_S)

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Store a batch in one transaction. A stored SUCCESS stays. See `bootsteps_tasks.Backend`."""
        rows = [to_row(meta, self._columns, self._serializer) for meta in metas]
        if rows:
            self._connections.get().write(lambda con: con.executemany(self._upsert, rows))
        self._now_and_then(self.cleanup)

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

    def save_group(self, group_id: str, found: Any) -> None:
        """Keep a group's result tuple."""
        row = group_id, self._dumps(found), stamp(datetime.now(UTC))
        self._connections.get().write(lambda con: con.execute(SAVE_GROUP, row))

    def restore_group(self, group_id: str) -> Any:
        """Return a group's result tuple, None when none is kept."""
        with self._connections.get().reading() as con:
            row = con.execute("select result from celery_tasksetmeta where taskset_id = ?", (group_id,)).fetchone()
        return None if row is None else self._loads(row[0])

    def delete_group(self, group_id: str) -> None:
        """No longer keep a group."""
        statement = "delete from celery_tasksetmeta where taskset_id = ?"
        self._connections.get().write(lambda con: con.execute(statement, (group_id,)))

    def begin_chord(self, group_id: str, size: int, tree: Any = None) -> None:
        """Expect so many parts. See `bootsteps_tasks.ChordBackend`."""
        self._chords.begin(group_id, size, tree)

    def add_to_chord(self, group_id: str) -> None:
        """Expect one part more."""
        self._chords.add(group_id)

    def return_parts(self, parts: Sequence[Part]) -> Sequence[Claim]:
        """Count parts and claim the chords that are complete. See `bootsteps_tasks.ChordBackend`."""
        return self._chords.return_parts(parts)

    def finish_chord(self, claim: Claim) -> None:
        """Forget a chord whose body is published."""
        self._chords.finish(claim)

    def cleanup(self) -> int:
        """Delete results older than `result_expires`, up to 10,000 at a time. Returns how many."""
        if not self._expires_s:
            return 0
        before = stamp(datetime.now(UTC) - timedelta(seconds=self._expires_s))
        if self._chord_s:
            chords_before = time() - self._chord_s
            self._connections.get().write(lambda con: delete_chords_before(con, chords_before))
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


def _delete(con: sqlite3.Connection, before: str) -> int:
    tables = ("celery_taskmeta", "celery_tasksetmeta")
    return sum(con.execute(delete_before(table), (before, CLEANUP_ROWS)).rowcount for table in tables)
