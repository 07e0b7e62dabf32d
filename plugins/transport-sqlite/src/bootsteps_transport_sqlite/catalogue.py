"""The declared exchanges, queues and bindings: in the file, and in memory while nobody changes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from time import time

from bootsteps_transport_sqlite import declarations
from bootsteps_transport_sqlite.store import Store
from bootsteps_transport_sqlite.topology import Queue, Topology

__all__ = ["Catalogue"]


class Catalogue:
    """What is declared in a broker file."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._topology: Topology | None = None
        self._rollbacks = 0

    def _fresh(self, con: sqlite3.Connection) -> Topology:
        generation: int = con.execute("select generation from topology").fetchone()[0]
        if not self._is_known(generation):
            self._topology = Topology.load(con, generation)
            self._rollbacks = self.store.rollbacks
        assert self._topology is not None
        return self._topology

    def _is_known(self, generation: int) -> bool:
        known = self._topology
        return known is not None and known.generation == generation and self._rollbacks == self.store.rollbacks

    def topology(self) -> Topology:
        """Return what is declared now. Read only."""
        generation: int = self.store.rows("select generation from topology")[0][0]
        if self._is_known(generation) and self._topology is not None:
            return self._topology
        with self.store.reading() as con:
            return self._fresh(con)

    def _listeners(self, con: sqlite3.Connection, queues: Iterable[int]) -> tuple[str, ...]:
        sockets = self._fresh(con).sockets
        return tuple(sorted({address for queue in queues for address in sockets.get(queue, ())}))

    def declare_exchange(self, name: str, kind: str) -> str:
        """Create an exchange where there is none; return the type that it has."""
        found = self.topology().exchanges.get(name)
        if found is not None:
            return found
        with self.store as con:
            con.execute("insert or ignore into exchange values(?, ?)", (name, kind))
            declarations.changed(con)
            return self._fresh(con).exchanges[name]

    def delete_exchange(self, name: str) -> None:
        """Remove an exchange."""
        with self.store as con:
            declarations.delete_exchange(con, name)

    def delete_queue(self, queue: Queue) -> int:
        """Remove a queue; return how many messages were ready in it."""
        with self.store as con:
            return declarations.delete_queue(con, queue.id)

    def bind(self, exchange: str, routing_key: str, queue: Queue) -> None:
        """Bind a queue; nothing happens when it is bound so already."""
        if (routing_key, queue.name) in self.topology().bindings.get(exchange, ()):
            return
        with self.store as con:
            declarations.bind(con, exchange, routing_key, queue.id)

    def unbind(self, exchange: str, routing_key: str, queue: Queue) -> None:
        """Undo `bind`."""
        with self.store as con:
            declarations.unbind(con, exchange, routing_key, queue.id)

    def counts(self, queue: Queue) -> tuple[int, int]:
        """Return how many messages are ready in a queue, and how many consumers it has."""
        ready, consumers = self.store.rows(
            "select (select count(*) from message where queue = :queue and owner is null"
            " and visible_at is null and (expires_at is null or expires_at > :now)),"
            " (select count(*) from consumer where queue = :queue)",
            {"queue": queue.id, "now": time()},
        )[0]
        return ready, consumers

    def purge(self, queue: Queue) -> int:
        """Remove what is ready (delayed messages too); return how many."""
        with self.store as con:
            return con.execute("delete from message where queue = ? and owner is null", (queue.id,)).rowcount

    def touch(self, queue: Queue) -> None:
        """Note that a queue with `x-expires` is in use."""
        if queue.expires_ms is not None:
            with self.store as con:
                con.execute("update queue set used_at = ? where id = ?", (time(), queue.id))
