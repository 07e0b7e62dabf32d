# mypy: disable-error-code="no-untyped-call,misc"
"""The part of the kombu channel that declares, publishes and counts, with kombu's keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from bootsteps_redis_wire.wire import Command
from bootsteps_transport_redis.codec import encode
from bootsteps_transport_redis.expiring import Expiring
from bootsteps_transport_redis.keys import Keys
from bootsteps_transport_redis.link import pushed_together
from bootsteps_transport_redis.naming import NamedKeys
from bootsteps_transport_redis.scripts import BIND_FOR_A_TIME, DROP_BINDINGS

if TYPE_CHECKING:
    from bootsteps_redis_wire.connection import Wire
    from bootsteps_transport_redis.link import Link
    from bootsteps_transport_redis.transport import Transport

__all__ = ["DeclaringChannel"]

#: Seconds between two looks for queues that expired, by each channel that consumes.
DROP_EVERY_S = 10.0
#: And between two looks for bindings of others that nobody has refreshed; so many of them at once (kombu's numbers).
SWEEP_BINDINGS_EVERY_S, SWEEP_BINDINGS_MOST = 60.0, 100
#: Commands of a batch that are sent together.
AT_ONCE = 1000


class DeclaringChannel(NamedKeys):
    """Everything that is sent goes over the transport's one link, not over connections of the channel's."""

    supports_batch_publish = True
    #: How many heard the last message that this channel published to a fanout exchange; None before the first.
    heard_by: int | None = None

    _link: Link

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._refreshed_at = self._swept_at = self._dropped_at = float("-inf")
        #: Binding tables that were read for the batch that is being published.
        self._tables: dict[str, list[tuple[str, ...]]] | None = None
        self._known = connection.known
        self._bound = connection.bound
        self._link = connection.open(cast(Any, self))
        self.keys = Keys(
            self.global_keyprefix,
            self.global_keyprefix + self.unacked_key,
            self.global_keyprefix + self.unacked_index_key,
        )
        self._expiring = Expiring(self._link, self.keys.expiring)

    def connector(self) -> Callable[..., Wire]:
        """Return what makes the transport's connections; it takes the number of the protocol."""
        from functools import partial

        from bootsteps_redis_wire.connection import Connection
        from bootsteps_transport_redis.addressing import address_of

        address = address_of(self)
        return self._borrowed() if address is None else partial(Connection, address)

    def _borrowed(self) -> Callable[..., Wire]:
        from bootsteps_transport_redis.borrowed import connector

        return connector(self)

    def _lists(self, queue: str) -> list[str]:
        """Return the keys of a queue's lists, the most urgent first."""
        return [self.global_keyprefix + self._q_for_pri(queue, step) for step in self.priority_steps]

    def _each(self, queue: str, command: str) -> list[Any]:
        return self._link.pipeline([(command, key) for key in self._lists(queue)])

    # -- publish

    def _next_delivery_tag(self) -> str:
        return os.urandom(16).hex()  # kombu's UUID takes six times as long, and nobody reads more into it

    def publish_many(self, messages: Sequence[tuple[dict[str, Any], str, str]]) -> None:
        """Publish (message, exchange, routing key) each, sent together. The messages are those of `prepare_message`.

        An error in the middle leaves those before it published.
        """
        self._tables = {}
        try:
            commands = [command for entry in messages for command in self._commands(*entry)]
        finally:
            self._tables = None
        for first in range(0, len(commands), AT_ONCE):
            self._link.pipeline(pushed_together(commands[first : first + AT_ONCE]))

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> None:
        """Publish one message."""
        known = self._known.get(exchange)
        if known is None or not self._publish_as_known(message, exchange, routing_key, known):
            commands = self._commands(message, exchange, routing_key)
            answers: list[Any] = []
            if len(commands) == 1:
                answers = [self._link.call(*commands[0])]
            elif commands:
                answers = self._link.pipeline(commands)
            if commands and commands[0][0] == "PUBLISH":
                self.heard_by = sum(answers)

    def _publish_as_known(
        self, message: dict[str, Any], exchange: str, routing_key: str, known: list[tuple[str, ...]]
    ) -> bool:
        """Publish by the bindings as they were last time, and read them anew in the same round trip.

        Only where they lead to queues that this channel has declared and that do not expire: another's queue may be
        gone, and must not come back by a message that nobody will read. False when nothing was published.
        """
        queues = self._queues(exchange, routing_key, known)
        if not queues or not all((exchange, queue) in self._bound for queue in queues):
            return False
        self._inplace_augment_message(message, exchange, routing_key)
        pushes = self._pushes(message, queues)
        members, *_ = self._link.pipeline([("SMEMBERS", self._table_key(exchange)), *pushes])
        table = self._known[exchange] = self._parsed(members)
        missed = [q for q in self._queues(exchange, routing_key, table) if q not in queues] if table != known else []
        if missed:
            self._link.pipeline(self._pushes(message, missed))
        return True

    def _queues(self, exchange: str, routing_key: str, table: list[tuple[str, ...]]) -> list[str]:
        """Return the queues that bindings lead to."""
        before, self._tables = self._tables, {exchange: table}
        try:
            return [queue for queue in self._lookup(exchange, routing_key) if queue]
        finally:
            self._tables = before

    def _commands(self, message: dict[str, Any], exchange: str, routing_key: str) -> list[Command]:
        self._inplace_augment_message(message, exchange, routing_key)
        if exchange and self.typeof(exchange).type == "fanout":
            topic = self._get_publish_topic(exchange, routing_key)
            return [("PUBLISH", self.global_keyprefix + topic, encode(message))]
        return self._pushes(message, [queue for queue in self._lookup(exchange, routing_key) if queue])

    def _pushes(self, message: dict[str, Any], queues: Sequence[str]) -> list[Command]:
        text, step = encode(message), self._get_message_priority(message, reverse=False)
        commands: list[Command] = []
        for queue in queues:
            commands.append(("LPUSH", self.global_keyprefix + self._q_for_pri(queue, step), text))
            commands += self._expiry(queue)
        return commands

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        step = self._get_message_priority(message, reverse=False)
        self._link.call("LPUSH", self.global_keyprefix + self._q_for_pri(queue, step), encode(message))

    def _expiry(self, queue: str) -> list[Command]:
        expires = self._expires.get(queue)
        return [] if expires is None else [("PEXPIRE", key, expires) for key in self._lists(queue)]

    def expire_queue(self, queue: str, after_s: float) -> None:
        """Let what is in a queue vanish after so many seconds, whoever declared it; nothing happens if it is empty."""
        self._link.pipeline([("PEXPIRE", key, int(after_s * 1000)) for key in self._lists(queue)])

    # -- declare

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """Return the bindings of an exchange: routing key, pattern, queue."""
        if self._tables is not None and exchange in self._tables:
            return self._tables[exchange]
        table = self._known[exchange] = self._parsed(self._link.call("SMEMBERS", self._table_key(exchange)))
        if self._tables is not None:
            self._tables[exchange] = table
        return table

    def list_bindings(self) -> list[tuple[str, str, str]]:
        """Return (queue, exchange, routing key) of every binding that is in Redis, whoever made it."""
        start = self._table_key("")
        exchanges, cursor = set(), b"0"
        while True:
            cursor, keys = self._link.call("SCAN", cursor, "MATCH", f"{start}*", "COUNT", 1000)
            exchanges |= {key.decode().removeprefix(start) for key in keys}
            if int(cursor) == 0:
                break
        found = [(exchange, *row) for exchange in sorted(exchanges) for row in self.get_table(exchange)]
        return [(queue, exchange, key) for exchange, key, _, queue in found]

    def _table_key(self, exchange: str) -> str:
        return str(self.global_keyprefix + self.keyprefix_queue % exchange)

    def _parsed(self, members: Iterable[bytes]) -> list[tuple[str, ...]]:
        return sorted(tuple(member.decode().split(self.sep)) for member in members)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, (routing_key or "").replace("#", "*"))
        table = self._table_key(exchange)
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        if queue in self._expires:
            if queue not in self._fanout_queues:  # first, lest who is killed now leaves what nobody knows of
                self._expiring.note([(self._expires[queue], table, member, queue)])
            self._link.script(*self._binding(table, exchange, member, queue))
        else:
            permanent = self.global_keyprefix + self.keyprefix_binding_permanent % exchange
            self._link.pipeline([("SADD", table, member), ("SADD", permanent, member)])
            self._bound.add((exchange, queue))

    def _binding(self, table: str, exchange: str, member: str, queue: str) -> tuple[str, list[str], list[Any]]:
        deadlines = self.global_keyprefix + self.keyprefix_binding_deadlines
        return BIND_FOR_A_TIME, [table, deadlines], [member, exchange, self._binding_ttl(queue)]

    def refresh_expiring(self, queues: Sequence[str]) -> None:
        """Keep queues that expire, and what binds them, while they are consumed; and kombu's own house clean."""
        queues = [queue for queue in queues if queue in self._expires]
        now = monotonic()
        if now - self._dropped_at >= DROP_EVERY_S:  # also those of others, who may be no more
            self._dropped_at = now
            self.drop_overdue()
        if not queues:
            return
        self._link.pipeline([command for queue in queues for command in self._expiry(queue)])
        self._expiring.note(self._lifetimes(queues))
        if now - self._refreshed_at >= min(self._binding_ttl(queue) for queue in queues) / 3000:
            self._refreshed_at = now
            for queue in queues:
                for exchange, table, member in self._bindings_of(queue):
                    self._link.script(*self._binding(table, exchange, member, queue))
        if now - self._swept_at >= SWEEP_BINDINGS_EVERY_S:
            self._swept_at = now
            prefixes = [
                self.global_keyprefix + p % "" for p in (self.keyprefix_queue, self.keyprefix_binding_permanent)
            ]
            deadlines = self.global_keyprefix + self.keyprefix_binding_deadlines
            self._link.script(DROP_BINDINGS, [deadlines], [*prefixes, SWEEP_BINDINGS_MOST])

    def _bindings_of(self, queue: str) -> Iterator[tuple[str, str, str]]:
        """The exchange, its table's key and the table's entry of each binding."""
        for exchange, routing_key, arguments in self.state.queue_bindings(queue):
            meta = self.typeof(exchange).prepare_bind(queue, exchange, routing_key, arguments)
            yield exchange, self._table_key(exchange), self.sep.join([part or "" for part in meta])

    def _lifetimes(self, queues: Iterable[str]) -> Iterator[tuple[int, str, str, str]]:
        for queue in queues:
            if queue not in self._fanout_queues:
                for _, table, member in self._bindings_of(queue):
                    yield self._expires[queue], table, member, queue

    def drop_overdue(self) -> int:
        """Delete the queues with `x-expires` whose consumers gave no sign for too long; return how many."""
        overdue = self._expiring.overdue()
        commands: list[Command] = [("SREM", table, member) for table, member, _ in overdue]
        if commands:
            commands.append(("DEL", *(key for *_, queue in overdue for key in self._lists(queue))))
            # They are forgotten last: whoever sweeps may be killed, too.
            self._link.pipeline([*commands, *(self._expiring.forget(*entry) for entry in overdue)])
        return len(overdue)

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        self.auto_delete_queues.discard(queue)
        self._bound.discard((exchange, queue))
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        tables = [self.keyprefix_queue % exchange, self.keyprefix_binding_permanent % exchange]
        commands: list[Command] = [("SREM", self.global_keyprefix + table, member) for table in tables]
        if queue in self._expires:
            commands.append(self._expiring.forget(self._table_key(exchange), member, queue))
        self._link.pipeline([*commands, ("DEL", *self._lists(queue))])

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", arguments: Any = None, **kwargs: Any
    ) -> None:
        """Undo a binding, whoever made it; kombu's forgets it in this process only."""
        name = exchange or "amq.direct"
        self._bound.discard((name, queue))
        tables = [
            self.global_keyprefix + key % name for key in (self.keyprefix_queue, self.keyprefix_binding_permanent)
        ]
        rows = [row for row in self.get_table(name) if row[0] == (routing_key or "") and row[-1] == queue]
        if rows:
            self._link.pipeline([("SREM", table, self.sep.join(row)) for table in tables for row in rows])
        self._known.pop(name, None)

    def _size(self, queue: str) -> int:
        return sum(self._each(queue, "LLEN"))

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        return bool(self._link.call("EXISTS", *self._lists(queue)))

    def _purge(self, queue: str) -> int:
        lists = self._lists(queue)
        sizes = self._link.pipeline([("MULTI",), *[("LLEN", key) for key in lists], ("DEL", *lists), ("EXEC",)])[-1]
        return sum(sizes[:-1])
