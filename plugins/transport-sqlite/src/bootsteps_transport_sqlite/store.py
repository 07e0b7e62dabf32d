"""One process's way to the broker file: open, transaction, retry when busy, safe over a fork."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from bootsteps_transport_sqlite.errors import UnusableBroker
from bootsteps_transport_sqlite.place import Place
from bootsteps_transport_sqlite.schema import ensure_schema

__all__ = ["BrokerBusy", "Store"]

OLDEST_SQLITE = (3, 35, 0)  # RETURNING
SYNCHRONOUS = ("normal", "full")
#: Pages (4 KiB) in the write-ahead log before a commit moves them into the database: 16 MiB.
CHECKPOINT_PAGES = 4000
#: Bytes to which the log is cut back after a checkpoint.
LOG_SIZE_LIMIT = 64 * 1024 * 1024


class BrokerBusy(sqlite3.OperationalError):
    """Another process kept the broker file locked beyond the deadline."""


class Store:
    """A broker file, opened when first used. Any thread may use it, one at a time.

    `with store as con:` is one write transaction. `synchronous` is "normal" (a commit survives the death of
    any process; the last ones may be lost with the power) or "full". `busy_s`: how long to wait for the file.
    """

    def __init__(self, place: Place, *, synchronous: str = "normal", busy_s: float = 10.0) -> None:
        if synchronous not in SYNCHRONOUS:
            raise UnusableBroker(f"transport option synchronous={synchronous!r} is not known", "'normal' or 'full'")
        check_sqlite(sqlite3.sqlite_version_info)
        self.place = place
        self._synchronous = synchronous
        self.busy_s = busy_s
        self._lock = threading.RLock()
        self._con: sqlite3.Connection | None = None
        self._pid = 0
        self._prepared = False
        self._inode = 0
        #: Transactions undone: what was read in one of them is not to be remembered.
        self.rollbacks = 0
        _close_over_forks(self)

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            con = self._con
            if con is None or self._pid != os.getpid():
                con = self._open()
            try:
                con.execute("begin immediate")
            except sqlite3.OperationalError as exc:
                if not _is_busy(exc):
                    raise
                self._retry(lambda: con.execute("begin immediate"))
        except BaseException:
            self._lock.release()
            raise
        return con

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        con = self._con
        assert con is not None
        try:
            if exc is None:
                con.execute("commit")
        finally:
            if con.in_transaction:
                self.rollbacks += 1
                con.execute("rollback")
            self._lock.release()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One view of the file for several queries; waits for no writer."""
        with self._lock:
            self.rows("select 1")  # opens it
            con = self._con
            assert con is not None
            con.execute("begin")
            try:
                yield con
            finally:
                con.execute("rollback")

    def rows(self, sql: str, args: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
        """Return the rows of one query, outside any transaction."""
        with self._lock:
            con = self._con
            if con is None or self._pid != os.getpid():
                con = self._open()
            try:
                return con.execute(sql, args).fetchall()
            except sqlite3.OperationalError as exc:
                if not _is_busy(exc):
                    raise
                found: list[Any] = self._retry(lambda: con.execute(sql, args).fetchall())
                return found

    def close(self) -> None:
        """Close the file; the last process to do so moves the log into it. Using it opens it again."""
        with self._lock:
            if self._con is not None and self._pid == os.getpid():
                self._con.close()
                self._con = None

    def moved(self) -> bool:
        """Say whether the file was removed or replaced since it was opened: what is written now is lost."""
        try:
            return os.stat(self.place.database).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _open(self) -> sqlite3.Connection:
        if self._con is not None:
            # A child that was forked behind Python's back (see `_close_over_forks`). SQLite forbids even to
            # close an inherited connection, so it is kept for ever.
            _abandoned.append(self._con)
        if not self._prepared:
            self.place.prepare()
        con = sqlite3.connect(
            self.place.database,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._retry(lambda: self._configure(con))
        except sqlite3.DatabaseError as exc:
            con.close()
            if "not a database" in str(exc):
                raise UnusableBroker(f"{self.place.database} is no SQLite file", "another path") from exc
            raise
        except BaseException:
            con.close()
            raise
        self._con, self._pid = con, os.getpid()
        self._inode = os.stat(self.place.database).st_ino
        self._prepared = True
        return con

    def _configure(self, con: sqlite3.Connection) -> None:
        mode = con.execute("pragma journal_mode = wal").fetchone()[0]
        if mode != "wal":
            raise UnusableBroker(
                f"the file system of {self.place.database} cannot keep a write-ahead log (mode {mode})",
                "a path on a local disk",
            )
        con.execute(f"pragma synchronous = {self._synchronous}")
        con.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
        con.execute(f"pragma journal_size_limit = {LOG_SIZE_LIMIT}")
        con.execute("pragma temp_store = memory")
        if self._prepared:
            return
        con.execute("begin immediate")
        try:
            ensure_schema(con, self.place.database)
            con.execute("commit")
        finally:
            if con.in_transaction:
                con.execute("rollback")

    def _retry(self, action: Callable[[], Any]) -> Any:
        """Repeat `action` while the file is busy.

        SQLite's own handler would begin with sleeps of 1, 2 and 5 ms, far longer than our transactions.
        """
        deadline, pause = monotonic() + self.busy_s, 0.0001
        while True:
            try:
                return action()
            except sqlite3.OperationalError as exc:
                if not _is_busy(exc):
                    raise
                if monotonic() > deadline:
                    raise BrokerBusy(
                        f"the broker file {self.place.database} was locked by another process for "
                        f"{self.busy_s:g} s\n  transport: kernel.transports:sqlite\n"
                        f"  try: find the process that holds it (fuser {self.place.database})"
                    ) from exc
            sleep(pause * random.uniform(0.5, 1.5))  # spreads the writers
            pause = min(pause * 1.5, 0.005)


def check_sqlite(version: tuple[int, ...]) -> None:
    """Raise `UnusableBroker` for an SQLite library that is too old."""
    if version < OLDEST_SQLITE:
        raise UnusableBroker(
            f"Python's SQLite library is {'.'.join(map(str, version))}, the embedded broker needs 3.35",
            "a newer Python or SQLite, or a broker with a server (redis://, amqp://)",
        )


def _is_busy(exc: sqlite3.OperationalError) -> bool:
    code = getattr(exc, "sqlite_errorcode", None)  # absent from those that Python raises itself
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


# Forks. SQLite keeps the file's locks in a table of the process. A child would inherit the table and not the
# locks, believe that it holds them, and lose what it wrote as soon as the parent closes and removes the log.
# So no connection is open while Python forks; parent and child open it again when they need it. Like SQLite's
# table, this register is the process's.
_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_abandoned: list[sqlite3.Connection] = []
_frozen: list[Store] = []
_hooked: list[bool] = []
_register = threading.Lock()  # held while Python forks


def _close_over_forks(store: Store) -> None:
    with _register:
        _stores.add(store)
        if not _hooked:
            _hooked.append(True)
            os.register_at_fork(before=_freeze, after_in_parent=_thaw, after_in_child=_thaw_child)


def _freeze() -> None:
    _register.acquire()
    for store in list(_stores):
        store._lock.acquire()
        _frozen.append(store)
        if store._con is not None and store._pid == os.getpid() and not store._con.in_transaction:
            store._con.close()
            store._con = None


def _thaw() -> None:
    while _frozen:
        _frozen.pop()._lock.release()
    _register.release()


def _thaw_child() -> None:
    while _frozen:
        _frozen.pop()._lock = threading.RLock()
    _register.release()
