"""The tables and the statements on them (wire reference 15.6: what Celery 5.7 makes in SQLite, to the name)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from bootsteps_result_sqlite.chords import TABLES as CHORD_TABLES

__all__ = ["EXTENDED", "PLAIN", "SAVE_GROUP", "create", "delete_before", "select", "upsert"]

#: The columns that are always there.
PLAIN = ("task_id", "status", "result", "date_done", "traceback", "children")
#: Further columns and their types. Celery 5.7 makes them always and fills them with `result_extended`.
EXTENDED = {
    "name": "VARCHAR(155)",
    "args": "BLOB",
    "kwargs": "BLOB",
    "worker": "VARCHAR(155)",
    "retries": "INTEGER",
    "queue": "VARCHAR(155)",
    "stamps": "BLOB",
}

TABLES = """
create table if not exists celery_taskmeta (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, task_id VARCHAR(155), status VARCHAR(50), result BLOB,
    date_done DATETIME, traceback TEXT, children BLOB, name VARCHAR(155), args BLOB, kwargs BLOB, worker VARCHAR(155),
    retries INTEGER, queue VARCHAR(155), stamps BLOB, UNIQUE (task_id));
create index if not exists ix_celery_taskmeta_date_done on celery_taskmeta (date_done);
create table if not exists celery_tasksetmeta (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, taskset_id VARCHAR(155), result BLOB, date_done DATETIME,
    UNIQUE (taskset_id));
create index if not exists ix_celery_tasksetmeta_date_done on celery_tasksetmeta (date_done);
"""

SAVE_GROUP = """
insert into celery_tasksetmeta (taskset_id, result, date_done) values (?, ?, ?)
on conflict (taskset_id) do update set result = excluded.result, date_done = excluded.date_done
"""


def create(con: sqlite3.Connection) -> None:
    """Make what is missing, inside the caller's write transaction."""
    for statement in filter(str.strip, (TABLES + CHORD_TABLES).split(";")):
        con.execute(statement)
    # A file of an older Celery may lack some.
    present = {row[1] for row in con.execute("pragma table_info(celery_taskmeta)")}
    for column, kind in EXTENDED.items():
        if column not in present:
            con.execute(f"alter table celery_taskmeta add column {column} {kind}")


def upsert(columns: Sequence[str]) -> str:
    """The statement that stores one row unless a SUCCESS stands there."""
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns if column != "task_id")
    return (
        f"insert into celery_taskmeta ({', '.join(columns)}) values ({', '.join('?' * len(columns))}) "
        f"on conflict (task_id) do update set {changed} where celery_taskmeta.status is not 'SUCCESS'"
    )


def select(columns: Sequence[str], *, ready_only: bool) -> str:
    """The statement that reads rows by a JSON list of ids: one parameter, however many they are."""
    ready = " and status in ('SUCCESS', 'FAILURE', 'REVOKED')" if ready_only else ""
    wanted = "task_id in (select value from json_each(?))"
    return f"select {', '.join(columns)} from celery_taskmeta where {wanted}{ready}"


def delete_before(table: str) -> str:
    """The statement that deletes rows older than a date, a bounded number at a time."""
    return f"delete from {table} where id in (select id from {table} where date_done < ? limit ?)"
