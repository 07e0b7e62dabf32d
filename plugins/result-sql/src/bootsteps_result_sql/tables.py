"""The tables and the statements on them (wire reference 15.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

__all__ = ["Tables"]

CREATE_ATTEMPTS = 4


class Tables:
    """What Celery 5.7 makes, by the name and the type of each column, with names and schemas of one's own."""

    def __init__(self, names: Mapping[str, str | None], schemas: Mapping[str, str | None]) -> None:
        self.metadata = sa.MetaData()
        self.tasks = self._make(
            names.get("task") or "celery_taskmeta",
            schemas.get("task"),
            "task_id_sequence",
            sa.Column("task_id", sa.String(155), unique=True),
            sa.Column("status", sa.String(50)),
            sa.Column("result", sa.LargeBinary),
            sa.Column("date_done", sa.DateTime, index=True),
            sa.Column("traceback", sa.Text),
            sa.Column("children", sa.LargeBinary),
            sa.Column("name", sa.String(155)),
            sa.Column("args", sa.LargeBinary),
            sa.Column("kwargs", sa.LargeBinary),
            sa.Column("worker", sa.String(155)),
            sa.Column("retries", sa.Integer),
            sa.Column("queue", sa.String(155)),
            sa.Column("stamps", sa.LargeBinary),
        )
        self.groups = self._make(
            names.get("group") or "celery_tasksetmeta",
            schemas.get("group"),
            "taskset_id_sequence",
            sa.Column("taskset_id", sa.String(155), unique=True),
            sa.Column("result", sa.LargeBinary),
            sa.Column("date_done", sa.DateTime, index=True),
        )

    @property
    def both(self) -> tuple[sa.Table, sa.Table]:
        """The table of tasks and that of groups."""
        return self.tasks, self.groups

    def _make(self, name: str, schema: str | None, sequence: str, *columns: sa.Column[Any]) -> sa.Table:
        # The number comes from the sequence where a database has such: a Celery client relies on it.
        numbers = sa.Sequence(sequence, schema=schema, metadata=self.metadata)
        key: sa.Column[int] = sa.Column("id", sa.Integer, numbers, primary_key=True, autoincrement=True)
        return sa.Table(name, self.metadata, key, *columns, schema=schema, sqlite_autoincrement=True)

    def create(self, engine: sa.Engine) -> None:
        """Make what is missing."""
        for attempt in range(CREATE_ATTEMPTS, 0, -1):
            try:
                self.metadata.create_all(engine, checkfirst=True)
                return
            except DBAPIError:
                # Another process made the same since we looked: it is found in the next look.
                if attempt == 1:
                    raise

    def upsert(self, con: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows, each unless a SUCCESS stands there; one row for one task, sorted by it."""
        maker: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}.get(con.dialect.name)
        if maker is None:
            self._replace(con, rows)
            return
        statement = maker(self.tasks)
        changed = {name: statement.excluded[name] for name in rows[0] if name != "task_id"}
        open_ = self.tasks.c.status.is_distinct_from("SUCCESS")
        con.execute(statement.on_conflict_do_update(index_elements=["task_id"], set_=changed, where=open_), list(rows))

    def _replace(self, con: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same for a database without such a statement: lock what is there, then update or insert."""
        column = self.tasks.c
        ids = [row["task_id"] for row in rows]
        query = sa.select(column.task_id, column.status).where(column.task_id.in_(ids)).with_for_update()
        there = {found.task_id: found.status for found in con.execute(query)}
        for row in rows:
            if row["task_id"] not in there:
                con.execute(sa.insert(self.tasks).values(**row))
            elif there[row["task_id"]] != "SUCCESS":
                con.execute(sa.update(self.tasks).where(column.task_id == row["task_id"]).values(**row))

    def select(self, names: Sequence[str], ids: Sequence[str], states: Sequence[str] = ()) -> sa.Select[Any]:
        """The statement that reads the named columns of these tasks, of those in some states only if any is named."""
        column = self.tasks.c
        found = sa.select(*(column[name] for name in names)).where(column.task_id.in_(ids))
        return found.where(column.status.in_(states)) if states else found

    def old(self, table: sa.Table, date: Any, most: int) -> sa.Select[Any]:
        """The statement that reads the numbers of rows older than a date, a bounded number of them."""
        return sa.select(table.c.id).where(table.c.date_done < date).limit(most)
