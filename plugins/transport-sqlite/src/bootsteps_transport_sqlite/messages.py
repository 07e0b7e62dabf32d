"""What is done with messages, each function inside the caller's write transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from time import time
from typing import NamedTuple

from bootsteps_transport_sqlite.topology import Queue

__all__ = ["NewMessage", "Row", "delete", "expire", "give_back", "insert", "reserve"]


class NewMessage(NamedTuple):
    """A message to publish."""

    exchange: str
    routing_key: str
    #: 0 to 9, higher first.
    priority: int
    #: JSON: content type, content encoding, headers, properties, exchange, routing key.
    meta: str
    body: bytes
    #: Milliseconds until it is dropped, None for never.
    expiration_ms: int | None = None
    #: Seconds until it can be delivered.
    delay_s: float = 0.0
    #: AMQP's delivery mode 2.
    persistent: bool = True


class Row(NamedTuple):
    """A message that this process holds."""

    id: int
    queue: int
    priority: int
    #: Deliveries that began, this one included.
    deliveries: int
    meta: str
    body: bytes


INSERT = "insert into message(queue, priority, visible_at, expires_at, meta, body) values(?, ?, ?, ?, ?, ?)"
RESERVE = """
update message set owner = ?, deliveries = deliveries + 1 where id in (
    select id from message where queue = ? and owner is null and visible_at is null
    and (expires_at is null or expires_at > ?) order by priority desc, id limit ?)
returning id, queue, priority, deliveries, meta, body
"""


def insert(con: sqlite3.Connection, message: NewMessage, queues: Sequence[Queue]) -> None:
    """Put a message into each of the queues."""
    visible = time() + message.delay_s if message.delay_s > 0 else None
    for queue in queues:
        expires = _expires_at(message.expiration_ms, queue.ttl_ms)
        con.execute(INSERT, (queue.id, message.priority, visible, expires, message.meta, message.body))


def _expires_at(*limits_ms: int | None) -> float | None:
    known = [limit for limit in limits_ms if limit is not None]
    return time() + min(known) / 1000 if known else None


def reserve(con: sqlite3.Connection, owner: int, queues: Iterable[int], limit: int) -> list[Row]:
    """Take up to `limit` messages that are ready, from the first queue on."""
    rows: list[Row] = []
    now = time()
    for queue in queues:
        if len(rows) >= limit:
            break
        found = [Row(*row) for row in con.execute(RESERVE, (owner, queue, now, limit - len(rows)))]
        found.sort(key=lambda row: (-row.priority, row.id))  # RETURNING has no order
        rows += found
    return rows


def delete(con: sqlite3.Connection, owner: int, ids: Iterable[int]) -> None:
    """Remove messages that `owner` holds: they are settled."""
    con.executemany("delete from message where id = ? and owner = ?", [(id_, owner) for id_ in ids])


def give_back(con: sqlite3.Connection, owner: int, ids: Sequence[int], *, counted: bool) -> None:
    """Put messages back at their old place. Those of a queue that is gone go with it.

    `counted` says that the delivery is held against the message.
    """
    keys = [(id_, owner) for id_ in ids]
    con.executemany("delete from message where id = ? and owner = ? and queue not in (select id from queue)", keys)
    less = 0 if counted else 1
    con.executemany(
        f"update message set owner = null, deliveries = deliveries - {less} where id = ? and owner = ?", keys
    )


def expire(con: sqlite3.Connection) -> None:
    """Make due messages visible and drop those whose time is over."""
    now = time()
    con.execute("update message set visible_at = null where visible_at <= ?", (now,))
    con.execute("delete from message where expires_at <= ? and owner is null", (now,))
