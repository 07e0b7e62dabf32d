"""The tables of a broker file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bootsteps_transport_sqlite.errors import UnusableBroker

__all__ = ["VERSION", "ensure_schema"]

#: Kept in the file's `user_version`.
VERSION = 1

# message: `id` is the place in the queue and is given anew only after its row is gone; `owner` is set while a
#   process holds it; `deliveries` counts those that began; `visible_at` is set while it is delayed.
#   Times are seconds since the epoch.
# topology.generation grows with every change of exchange, queue, binding or consumer, so that a process can
#   route from memory and ask for one number in the transaction that publishes.
TABLES = """
create table message(
    id integer primary key, queue integer not null, priority integer not null, owner integer,
    deliveries integer not null default 0, visible_at real, expires_at real, meta text not null,
    body blob not null);
create index message_ready on message(queue, priority desc, id) where owner is null and visible_at is null;
create index message_owned on message(owner) where owner is not null;
create index message_delayed on message(visible_at) where visible_at is not null;
create index message_expiring on message(expires_at) where expires_at is not null;
create table exchange(name text primary key, type text not null) without rowid;
create table queue(
    id integer primary key autoincrement, name text not null unique, owner integer,
    auto_delete integer not null, expires_ms integer, ttl_ms integer, used_at real not null);
create table binding(
    exchange text not null, routing_key text not null, queue integer not null,
    primary key(exchange, routing_key, queue)) without rowid;
create table owner(id integer primary key autoincrement, token text not null, socket text not null);
create table consumer(
    owner integer not null, tag text not null, queue integer not null, primary key(owner, tag)) without rowid;
create table topology(generation integer not null);
insert into topology values(1);
insert into exchange values('amq.direct', 'direct'), ('amq.topic', 'topic'), ('amq.fanout', 'fanout');
"""


def ensure_schema(con: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file; inside a write transaction.

    Raises `UnusableBroker` for a file of another schema version or of somebody else.
    """
    found = con.execute("pragma user_version").fetchone()[0]
    if found == VERSION:
        return
    if found == 0 and not con.execute("select count(*) from sqlite_master").fetchone()[0]:
        for statement in TABLES.split(";"):
            if statement.strip():
                con.execute(statement)
        con.execute(f"pragma user_version = {VERSION}")
        return
    kind = f"was written by another version (schema {found}, ours is {VERSION})" if found else "is no broker file"
    raise UnusableBroker(
        f"the SQLite file {path} {kind}",
        "another path; or the version of this distribution that wrote it, to consume what is left",
    )
