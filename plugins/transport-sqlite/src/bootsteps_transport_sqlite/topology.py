"""Exchanges, queues and bindings as one process remembers them, and the way from a routing key to queues."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Queue", "Route", "Topology", "topic_matches"]


class Queue(NamedTuple):
    """A declared queue."""

    id: int
    name: str
    #: Milliseconds that a message may wait, None without a limit.
    ttl_ms: int | None
    #: Milliseconds that it may be unused, None without a limit.
    expires_ms: int | None


class Route(NamedTuple):
    """Where a message goes, and which sockets to wake when it is there."""

    queues: tuple[Queue, ...]
    wake: tuple[str, ...]


@dataclass(slots=True)
class Topology:
    """A copy of the shared tables. Good for one generation; then another takes its place."""

    generation: int
    exchanges: dict[str, str]  # name -> type
    queues: dict[str, Queue]
    bindings: dict[str, list[tuple[str, str]]]  # exchange -> (routing key, queue name)
    sockets: dict[int, tuple[str, ...]]  # queue id -> sockets of its consumers
    _routes: dict[tuple[str, str], Route] = field(default_factory=dict)

    @classmethod
    def load(cls, con: sqlite3.Connection, generation: int) -> Topology:
        """Read the tables; inside a transaction."""
        queues = {q[1]: Queue(*q) for q in con.execute("select id, name, ttl_ms, expires_ms from queue order by name")}
        bindings: dict[str, list[tuple[str, str]]] = {}
        for exchange, key, queue in con.execute(
            "select b.exchange, b.routing_key, q.name from binding b join queue q on q.id = b.queue"
            " order by b.exchange, b.routing_key, q.name"
        ):
            bindings.setdefault(exchange, []).append((key, queue))
        sockets: dict[int, tuple[str, ...]] = {}
        for queue_id, address in con.execute(
            "select distinct c.queue, o.socket from consumer c join owner o on o.id = c.owner order by 1, 2"
        ):
            sockets[queue_id] = (*sockets.get(queue_id, ()), address)
        exchanges = dict(con.execute("select name, type from exchange"))
        return cls(generation, exchanges, queues, bindings, sockets)

    def route(self, exchange: str, routing_key: str) -> Route:
        """Return the queues of a message; KeyError for an exchange that is not declared."""
        key = (exchange, routing_key)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) > 10_000:  # routing keys may be as many as messages
                self._routes.clear()
            route = self._routes[key] = self._find(exchange, routing_key)
        return route

    def _find(self, exchange: str, routing_key: str) -> Route:
        if not exchange:
            names = [routing_key] if routing_key in self.queues else []
        else:
            names = sorted(set(self._matching(exchange, routing_key)))
        queues = tuple(self.queues[name] for name in names)
        wake = {address for queue in queues for address in self.sockets.get(queue.id, ())}
        return Route(queues, tuple(sorted(wake)))

    def _matching(self, exchange: str, routing_key: str) -> list[str]:
        kind, bound = self.exchanges[exchange], self.bindings.get(exchange, [])
        if kind == "fanout":
            return [queue for _, queue in bound]
        if kind == "topic":
            words = routing_key.split(".")
            return [queue for key, queue in bound if topic_matches(key.split("."), words)]
        return [queue for key, queue in bound if key == routing_key]


def topic_matches(pattern: list[str], words: list[str]) -> bool:
    """Match as AMQP 0-9-1 does: `*` is one word, `#` is none or more."""
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(topic_matches(rest, words[i:]) for i in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and topic_matches(rest, words[1:])
