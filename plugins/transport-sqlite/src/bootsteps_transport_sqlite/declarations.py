"""What is declared: exchanges, queues, bindings, consumers and owners.

Each function runs inside the caller's write transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from time import time
from typing import Any

__all__ = [
    "add_consumer",
    "add_owner",
    "bind",
    "changed",
    "delete_exchange",
    "delete_queue",
    "delete_unused_queues",
    "insert_queue",
    "remove_consumer",
    "remove_owner",
    "unbind",
]


def changed(con: sqlite3.Connection) -> None:
    """Tell every process to read the topology again."""
    con.execute("update topology set generation = generation + 1")


def insert_queue(
    con: sqlite3.Connection,
    name: str,
    *,
    owner: int | None = None,
    auto_delete: bool = False,
    arguments: dict[str, Any] | None = None,
) -> int:
    """Create a queue and return its id. `owner` is set for an exclusive one."""
    arguments = arguments or {}
    made = con.execute(
        "insert into queue(name, owner, auto_delete, expires_ms, ttl_ms, used_at) values(?, ?, ?, ?, ?, ?)",
        (name, owner, auto_delete, arguments.get("x-expires"), arguments.get("x-message-ttl"), time()),
    )
    changed(con)
    assert made.lastrowid is not None
    return made.lastrowid


def delete_queue(con: sqlite3.Connection, queue: int) -> int:
    """Remove a queue, its bindings and what is ready in it; return how many that were.

    What a consumer holds stays until it is settled, so that no id is given anew while somebody may use it.
    """
    con.execute("delete from binding where queue = ?", (queue,))
    con.execute("delete from consumer where queue = ?", (queue,))
    con.execute("delete from queue where id = ?", (queue,))
    changed(con)
    return con.execute("delete from message where queue = ? and owner is null", (queue,)).rowcount


def delete_exchange(con: sqlite3.Connection, name: str) -> None:
    """Remove an exchange and its bindings; the queues stay."""
    con.execute("delete from binding where exchange = ?", (name,))
    con.execute("delete from exchange where name = ?", (name,))
    changed(con)


def bind(con: sqlite3.Connection, exchange: str, routing_key: str, queue: int) -> None:
    """Bind a queue to an exchange."""
    con.execute("insert or ignore into binding values(?, ?, ?)", (exchange, routing_key, queue))
    changed(con)


def unbind(con: sqlite3.Connection, exchange: str, routing_key: str, queue: int) -> None:
    """Undo `bind`."""
    con.execute(
        "delete from binding where exchange = ? and routing_key = ? and queue = ?",
        (exchange, routing_key, queue),
    )
    changed(con)


def add_owner(con: sqlite3.Connection, token: str, socket: str) -> int:
    """Register a process that may hold messages and return its id."""
    made = con.execute("insert into owner(token, socket) values(?, ?)", (token, socket))
    assert made.lastrowid is not None
    return made.lastrowid


def remove_owner(con: sqlite3.Connection, owner: int) -> list[int]:
    """Free what a process holds; its deliveries stay counted. Return the queues that got messages back."""
    con.execute("delete from message where owner = ? and queue not in (select id from queue)", (owner,))
    queues = [row[0] for row in con.execute("select distinct queue from message where owner = ?", (owner,))]
    con.execute("update message set owner = null where owner = ?", (owner,))
    left = [row[0] for row in con.execute("select distinct queue from consumer where owner = ?", (owner,))]
    con.execute("delete from consumer where owner = ?", (owner,))
    _leave(con, left)
    for (queue,) in con.execute("select id from queue where owner = ?", (owner,)).fetchall():
        delete_queue(con, queue)
    con.execute("delete from owner where id = ?", (owner,))
    changed(con)
    return queues


def add_consumer(con: sqlite3.Connection, owner: int, tag: str, queue: int) -> None:
    """Register a consumer, so that publishers wake it."""
    con.execute("insert or replace into consumer values(?, ?, ?)", (owner, tag, queue))
    changed(con)


def remove_consumer(con: sqlite3.Connection, owner: int, tag: str, queue: int) -> None:
    """Undo `add_consumer`; an auto-delete queue goes with its last consumer."""
    con.execute("delete from consumer where owner = ? and tag = ?", (owner, tag))
    _leave(con, [queue])
    changed(con)


def _leave(con: sqlite3.Connection, queues: Iterable[int]) -> None:
    for queue in queues:
        con.execute("update queue set used_at = ? where id = ?", (time(), queue))
        unused = con.execute(
            "select 1 from queue where id = :queue and auto_delete"
            " and not exists(select 1 from consumer where queue = :queue)",
            {"queue": queue},
        ).fetchone()
        if unused:
            delete_queue(con, queue)


UNUSED = """
select id from queue where expires_ms is not null and used_at + expires_ms / 1000.0 <= :now
and not exists(select 1 from consumer where queue = queue.id)
"""


def delete_unused_queues(con: sqlite3.Connection) -> None:
    """Remove queues that nobody used for the time of their `x-expires`."""
    for (queue,) in con.execute(UNUSED, {"now": time()}).fetchall():
        delete_queue(con, queue)
