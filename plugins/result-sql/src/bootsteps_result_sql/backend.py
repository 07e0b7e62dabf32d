"""The result backend `db+...`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from bootsteps_result_sql.settings import engine_options, table_names, url_of
from bootsteps_result_sqlite import EXTENDED, PLAIN, NowAndThen, from_row, to_row
from bootsteps_tasks.backend import READY_STATES, decode, encode, newest
from bootsteps_tasks.process import PerProcess

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

    from bootsteps_result_sql.tables import Tables
    from bootsteps_tasks import App

__all__ = ["SqlBackend"]

T = TypeVar("T")

#: Seconds for which a database that cannot be reached is tried again.
DEADLINE_S = 15.0
#: Seconds between two looks for a result.
SHORTEST_S, LONGEST_S = 0.005, 0.25
#: How many ids one statement names.
CHUNK = 500
#: Seconds between two clean-ups, and how many rows one deletes of a table.
CLEANUP_EVERY_S = 60.0
CLEANUP_ROWS = 10_000


class SqlBackend:
    """Results in a database that many hosts share. Safe from any thread.

    Raises `SettingError` for a URL that cannot be read, `KernelError` when the database cannot be reached for 15 s or
    refuses. Tables that are missing are made when it is first used.
    """

    def __init__(self, app: App, url: str) -> None:
        conf = app.conf
        options: Mapping[str, Any] = conf["result_backend_transport_options"]
        self._url = url
        self._place = url_of(url)
        self._engine_options = engine_options(options)
        self._names = table_names(options, "table_names"), table_names(options, "table_schemas")
        self._columns = (*PLAIN, *EXTENDED) if conf["result_extended"] else PLAIN
        self._serializer: str = conf["result_serializer"]
        accept = conf["result_accept_content"]
        self._accept = frozenset({self._serializer, *(conf["accept_content"] if accept is None else accept)})
        self._expires_s: float = conf["result_expires"] or 0.0
        self._engines: PerProcess[Engine] = PerProcess(self._open)
        self._now_and_then = NowAndThen(CLEANUP_EVERY_S)

    @cached_property
    def _tables(self) -> Tables:
        from bootsteps_result_sql.tables import Tables

        return Tables(*self._names)

    def _open(self) -> Engine:
        from sqlalchemy import create_engine

        engine = create_engine(self._place, **self._engine_options)
        self._tables.create(engine)
        return engine

    def _do(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction, again while the database cannot be reached."""
        from bootsteps_result_sql.patience import patiently

        def once() -> T:
            with self._engines.get().begin() as con:
                return work(con)

        return patiently(once, self._url, DEADLINE_S)

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Store a batch in one transaction. A stored SUCCESS stays. See `bootsteps_tasks.Backend`."""
        # Sorted, so that two processes that store the same tasks do not lock each other out.
        rows = [self._row(meta) for _, meta in sorted(newest(metas).items())]
        if rows:
            self._do(lambda con: self._tables.upsert(con, rows))
        self._now_and_then(self.cleanup)

    def _row(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(zip(self._columns, to_row(meta, self._columns, self._serializer), strict=True))
        date = found["date_done"]
        return {**found, "date_done": None if date is None else datetime.fromisoformat(date)}

    def get(self, task_id: str) -> dict[str, Any] | None:
        """Return the meta object, None when nothing is stored."""
        return self._read((task_id,)).get(task_id)

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the meta objects that are stored."""
        return self._read(tuple(ids))

    def wait(self, ids: Collection[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
        """Return those that are ready as soon as one is; empty after `timeout` seconds, and at once for no ids.

        It looks again after 5 ms at first, then up to every 250 ms: Celery's workers would wake nobody.
        """
        wanted, states, pause = tuple(ids), tuple(sorted(READY_STATES)), SHORTEST_S
        until = None if timeout is None else monotonic() + timeout
        while wanted:
            found = self._read(wanted, states)
            left = LONGEST_S if until is None else until - monotonic()
            if found or left <= 0:
                return found
            sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_S)
        return {}

    def forget(self, task_id: str) -> None:
        """Delete the result."""
        self._delete(self._tables.tasks, "task_id", task_id)

    def save_group(self, group_id: str, found: Any) -> None:
        """Keep the result tuple of a group."""
        table = self._tables.groups
        row = {"taskset_id": group_id, "result": encode(found, self._serializer), "date_done": _now()}

        def replace(con: Connection) -> None:
            con.execute(table.delete().where(table.c.taskset_id == group_id))
            con.execute(table.insert().values(**row))

        self._do(replace)

    def restore_group(self, group_id: str) -> Any | None:
        """Return the result tuple of a group, None when it was not saved."""
        table = self._tables.groups
        query = table.select().where(table.c.taskset_id == group_id)
        row = self._do(lambda con: con.execute(query).first())
        return None if row is None else decode(row.result, self._serializer, self._accept)

    def delete_group(self, group_id: str) -> None:
        """Forget the result tuple of a group, not the results of its tasks."""
        self._delete(self._tables.groups, "taskset_id", group_id)

    def _delete(self, table: Table, column: str, value: str) -> None:
        self._do(lambda con: con.execute(table.delete().where(table.c[column] == value)))

    def cleanup(self) -> int:
        """Delete results older than `result_expires`, up to 10,000 of a table. Returns how many."""
        if not self._expires_s:
            return 0
        before = _now() - timedelta(seconds=self._expires_s)
        return self._do(lambda con: sum(self._delete_old(con, table, before) for table in self._tables.both))

    def _delete_old(self, con: Connection, table: Table, before: datetime) -> int:
        numbers = list(con.execute(self._tables.old(table, before, CLEANUP_ROWS)).scalars())
        for start in range(0, len(numbers), CHUNK):
            con.execute(table.delete().where(table.c.id.in_(numbers[start : start + CHUNK])))
        return len(numbers)

    def close(self) -> None:
        """Close the connections; they reopen when used."""
        engine = self._engines.drop()
        if engine is not None:
            engine.dispose()

    def _read(self, ids: Sequence[str], states: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
        chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
        queries = [self._tables.select(self._columns, chunk, states) for chunk in chunks]
        rows = self._do(lambda con: [tuple(row) for query in queries for row in con.execute(query)])
        metas = (from_row(row, self._columns, self._serializer, self._accept) for row in rows)
        return {meta["task_id"]: meta for meta in metas}


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
