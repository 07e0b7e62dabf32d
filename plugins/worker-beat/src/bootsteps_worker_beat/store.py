"""The schedule's file: when each entry was sent last. Survives `kill -9`; several processes may use it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bootsteps import KernelError

__all__ = ["Row", "Store"]

#: How long to wait for another process that sends a task, in seconds. Then others have their turn.
PATIENCE_S = 2.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    name TEXT PRIMARY KEY,
    definition TEXT NOT NULL,       -- of the schedule: another one starts to count anew
    last_run_at REAL NOT NULL,      -- Unix seconds
    total_run_count INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""


class Row(NamedTuple):
    """What is known of an entry."""

    last_run_at: float
    total_run_count: int


class Store:
    """One connection to the file, for one thread. Raises `KernelError` for a file that is none."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(SCHEMA)
        except (sqlite3.Error, OSError) as exc:
            what = f"the schedule file {str(self._path)!r} cannot be used: {exc}"
            raise KernelError(what, ("setting beat_schedule_filename",), "-s another/file, or delete this one") from exc

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other processes from writing; what is written in it is kept when it ends well."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            what = f"another process holds the schedule file {str(self._path)!r}: {exc}"
            raise KernelError(what, (), "it is tried again") from exc
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def merge(self, wanted: Mapping[str, tuple[str, float]]) -> dict[str, Row]:
        """Have exactly these entries: by name the schedule's definition, and what its last run is if it is new."""
        with self.locked():
            known = {name: (definition, at, runs) for name, definition, at, runs in self._db.execute(
                "SELECT name, definition, last_run_at, total_run_count FROM entry")}  # fmt: skip
            self._db.executemany("DELETE FROM entry WHERE name = ?", [(name,) for name in known.keys() - wanted.keys()])
            for name, (definition, at) in wanted.items():
                if name not in known or known[name][0] != definition:
                    runs = known[name][2] if name in known else 0
                    self._db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)", (name, definition, at, runs))
            rows = self._db.execute("SELECT name, last_run_at, total_run_count FROM entry").fetchall()
        return {name: Row(at, runs) for name, at, runs in rows}

    def read(self, name: str) -> Row | None:
        """Return what is known of an entry; None when it is not there."""
        found = self._db.execute("SELECT last_run_at, total_run_count FROM entry WHERE name = ?", (name,)).fetchone()
        return None if found is None else Row(*found)

    def write(self, name: str, last_run_at: float, total_run_count: int) -> None:
        """Note a run."""
        self._db.execute(
            "UPDATE entry SET last_run_at = ?, total_run_count = ? WHERE name = ?", (last_run_at, total_run_count, name)
        )

    def sync(self) -> None:
        """Write to the disk what would survive the end of this process, but not of the machine."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        self._db.close()
