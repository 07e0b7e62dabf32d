"""One SQLite file with the revoked ids, the revoked stamps and the clock."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from bootsteps import KernelError

__all__ = ["StateDB"]

#: What makes a file ours (`pragma application_id`): "boot".
APPLICATION = 0x626F6F74
SCHEMA = f"""
create table if not exists revoked (id text primary key, at real not null);
create table if not exists stamps (name text, value text, at real not null, primary key (name, value));
create table if not exists clock (only integer primary key check (only = 1), value integer not null);
pragma application_id = {APPLICATION};
"""
#: Seconds for which another worker that writes at the same moment is waited for.
BUSY_S = 5.0


class StateDB:
    """Opened for each use and closed again: nothing of it is there to be inherited by a pool child.

    Times are Unix seconds. Raises `KernelError` when the file is not usable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise _unusable(path, exc.strerror or str(exc)) from exc
        with self._open() as db:
            owner = db.execute("pragma application_id").fetchone()[0]
            if owner != APPLICATION and db.execute("select count(*) from sqlite_master").fetchone()[0]:
                raise _unusable(path, "it is another program's")
            db.executescript(SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as db, db:
                yield db
        except sqlite3.Error as exc:
            raise _unusable(self.path, str(exc)) from exc

    def revoked(self) -> list[tuple[str, float]]:
        """The revoked ids with the times of their revocation, oldest first."""
        with self._open() as db:
            return db.execute("select id, at from revoked order by at, rowid").fetchall()

    def stamps(self) -> dict[str, set[str]]:
        """The revoked stamps: name to values."""
        found: dict[str, set[str]] = {}
        with self._open() as db:
            for name, value in db.execute("select name, value from stamps"):
                found.setdefault(name, set()).add(value)
        return found

    def note(self, ids: Iterable[str], stamps: Mapping[str, Iterable[str]], at: float | None = None) -> None:
        """Write down what was revoked, now or `at` that time."""
        when = time.time() if at is None else at
        with self._open() as db:
            db.executemany("insert or replace into revoked values (?, ?)", [(each, when) for each in ids])
            pairs = [(name, value, when) for name, values in stamps.items() for value in values]
            db.executemany("insert or replace into stamps values (?, ?, ?)", pairs)

    def forget(self, before: float, most: int) -> None:
        """Drop what was revoked before that time, and of the rest all but the last `most` ids."""
        with self._open() as db:
            for table in ("revoked", "stamps"):
                db.execute(f"delete from {table} where at < ?", (before,))
            db.execute("delete from revoked where id not in (select id from revoked order by at desc limit ?)", (most,))

    @property
    def clock(self) -> int:
        """The logical clock as it was written down last; 0 if never."""
        with self._open() as db:
            found = db.execute("select value from clock").fetchone()
            return int(found[0]) if found else 0

    @clock.setter
    def clock(self, value: int) -> None:
        with self._open() as db:
            db.execute(
                "insert into clock values (1, ?) on conflict do update set value = max(value, excluded.value)", (value,)
            )


def _unusable(path: Path, why: str) -> KernelError:
    return KernelError(
        f"the state database {str(path)!r} cannot be used: {why}",
        ("setting 'worker_state_db' of bootsteps-statedb",),
        "name another file: --statedb PATH, or move this one away",
    )
