"""Queues with `x-expires` whose consumer is no more: kombu keeps what binds them for an hour and more.

That is right for a mailbox, whose worker may be busy. The reply queue of a client that was killed would be an entry in
the table of all replies, and whatever was sent to it, for ever.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootsteps_transport_redis.link import Link
from bootsteps_redis_wire.wire import Command

__all__ = ["Expiring"]

#: A queue is kept for so many times its `x-expires`, and for so many seconds at least, without a sign of its consumer.
FACTOR, LEAST_MS = 2, 15_000
#: How many are looked up at one time.
AT_ONCE = 500

#: KEYS: the sorted set. ARGV: milliseconds and member, again and again. By the server's clock.
NOTE = """
local clock = redis.call('TIME')
local ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 1, #ARGV, 2 do
    redis.call('ZADD', KEYS[1], ms + tonumber(ARGV[i]), ARGV[i + 1])
end
"""

#: KEYS: the sorted set. ARGV: how many. Returns the members that are overdue.
OVERDUE = """
local clock = redis.call('TIME')
local ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, tonumber(ARGV[1]))
"""


class Expiring:
    """Remembers in the server until when each such queue is kept."""

    def __init__(self, link: Link, key: str) -> None:
        self._link = link
        self._key = key

    def note(self, bindings: Iterable[tuple[int, str, str, str]]) -> None:
        """Keep queues: `x-expires` in ms, the binding table's key, its entry, the queue's name."""
        arguments: list[Any] = []
        for expires_ms, table, member, queue in bindings:
            arguments += [max(FACTOR * expires_ms, LEAST_MS), _entry(table, member, queue)]
        if arguments:
            self._link.script(NOTE, [self._key], arguments)

    def forget(self, table: str, member: str, queue: str) -> Command:
        """Return the command that forgets a queue, since it is deleted."""
        return ("ZREM", self._key, _entry(table, member, queue))

    def overdue(self) -> list[tuple[str, str, str]]:
        """Return the queues whose time is over: the binding table's key, its entry, the queue's name."""
        found = self._link.script(OVERDUE, [self._key], [AT_ONCE]) or []
        return [tuple(json.loads(entry)) for entry in found]


def _entry(table: str, member: str, queue: str) -> str:
    return json.dumps([table, member, queue])
