"""The file and one process's connections to it."""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar
from urllib.parse import unquote

from bootsteps.errors import KernelError, SettingError
from bootsteps_result_sqlite.schema import create
from bootsteps_tasks.places import mask_url

__all__ = ["Connections", "path_of"]

T = TypeVar("T")

#: Seconds for which SQLite itself waits for a lock.
BUSY_S = 1.0
#: Seconds after which a file that is always locked is an error.
DEADLINE_S = 30.0


def path_of(url: str) -> Path:
    """Return the file of `sqlite:////absolute/path` or `sqlite:///relative/path`. Raises `SettingError`."""
    _, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if host or not slash or not path or path == ":memory:" or path.endswith("/"):
        what = f"result_backend {mask_url(url)!r} names no file"
        fix = "sqlite:////var/lib/app/results.db (absolute) or sqlite:///results.db (relative)"
        raise SettingError(what, ("result backend sqlite (bootsteps-result-sqlite)",), fix)
    return Path(os.path.abspath(unquote(path)))


class Connections:
    """One connection for reading and one for writing, each with its lock; opened at the first use.

    Two, because `pragma data_version` tells a connection only of the commits of others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_lock, self._write_lock = Lock(), Lock()
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        _close_over_forks(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the reader."""
        with self._read_lock:
            if self._reader is None:
                self._make_tables()
                self._reader = _patiently(lambda: _connect(self._path))
            yield self._reader

    def write(self, statements: Callable[[sqlite3.Connection], T]) -> T:
        """Call in a transaction and commit; again while the file is locked, at most for 30 s."""
        with self._write_lock:
            con = self._open_writer()
            return _patiently(lambda: _transaction(con, statements))

    def close(self) -> None:
        """Close what is open."""
        with self._read_lock, self._write_lock:
            self._close()

    def _close(self) -> None:
        for con in (self._reader, self._writer):
            if con is not None:
                con.close()
        self._reader = self._writer = None

    def freeze(self) -> None:
        """Close what is open, and let nobody open it again until `thaw`."""
        self._read_lock.acquire()
        self._write_lock.acquire()
        self._close()

    def thaw(self) -> None:
        """Allow use again."""
        self._write_lock.release()
        self._read_lock.release()

    def _make_tables(self) -> None:
        # Not when they are there: a reader must not wait behind a writer that waits for the file.
        if self._writer is None:
            with self._write_lock:
                self._open_writer()

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            _prepare(self._path)
            con = _patiently(lambda: _connect(self._path))
            _patiently(lambda: _transaction(con, lambda con: create(con)))
            self._writer = con
        return self._writer


# Forks. SQLite keeps the file's locks in a table of the process; a child inherits the table and not the locks, and
# would write into a log that the parent removes. So nothing is open while Python forks; both sides open it again.
_made: weakref.WeakSet[Connections] = weakref.WeakSet()
_frozen: list[Connections] = []
_hooked: list[bool] = []


def _close_over_forks(connections: Connections) -> None:
    _made.add(connections)
    if not _hooked:
        _hooked.append(True)
        os.register_at_fork(before=_freeze, after_in_parent=_thaw, after_in_child=_thaw)


def _freeze() -> None:
    for connections in list(_made):
        connections.freeze()
        _frozen.append(connections)


def _thaw() -> None:
    while _frozen:
        _frozen.pop().thaw()


def _prepare(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            # Only created, never opened here: closing a second descriptor would drop SQLite's locks (fcntl(2)).
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as exc:
        what = f"the results file {path} cannot be created: {exc.strerror}"
        fix = "result_backend with a path that this user may write to"
        raise KernelError(what, ("result backend sqlite (bootsteps-result-sqlite)",), fix) from exc


def _connect(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        con.execute("pragma journal_mode = wal")
        con.execute("pragma synchronous = normal")
    except sqlite3.DatabaseError as exc:
        con.close()
        if _is_busy(exc):
            raise
        what = f"the results file {path} cannot be used: {exc}"
        raise KernelError(what, ("result backend sqlite (bootsteps-result-sqlite)",), "another file") from exc
    return con


def _transaction(con: sqlite3.Connection, statements: Callable[[sqlite3.Connection], T]) -> T:
    con.execute("begin immediate")
    try:
        found = statements(con)
        con.execute("commit")
    except BaseException:
        if con.in_transaction:
            con.execute("rollback")
        raise
    return found


def _patiently(call: Callable[[], T]) -> T:
    """Call again while the file is locked: SQLite's own waiting does not cover recovery and the switch to WAL."""
    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            return call()
        except sqlite3.OperationalError as exc:
            if not _is_busy(exc) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _is_busy(exc: sqlite3.Error) -> bool:
    # The low byte of an extended code is the code itself.
    return (getattr(exc, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
