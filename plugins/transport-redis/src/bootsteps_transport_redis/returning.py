# mypy: disable-error-code="no-untyped-call,misc"
"""The part of the kombu channel that puts deliveries back, lets them wait, and counts them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps_redis_wire.wire import Command
from bootsteps_transport_redis import codec
from bootsteps_transport_redis.keys import Keys
from bootsteps_transport_redis.link import Link
from bootsteps_transport_redis.scripts import DEFER, GIVE_BACK, PUT_BACK
from bootsteps_transport_redis.source import Source

if TYPE_CHECKING:
    from bootsteps_transport_batches.window import Window
    from bootsteps_transport_redis.channel import Taken
    from bootsteps_transport_redis.transport import Transport

__all__ = ["DEFERRED", "Returning"]

#: How the tag of a delivery begins that waits for its time.
DEFERRED = "later:"
#: Seconds for which the count of a message is kept after its last delivery.
COUNT_KEPT_S = 7 * 24 * 3600
#: Deliveries dealt with in one call of a script.
AT_ONCE = 500


class Returning:
    """What a channel does with deliveries that it does not acknowledge."""

    _link: Link
    _transport: Transport
    keys: Keys
    qos: Window[str, Source]
    _count_keys: dict[str, str] | None = None

    if TYPE_CHECKING:  # the rest of the channel

        def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None: ...

        def _look_again(self) -> None: ...

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Drop a delivery; or put it at the end of its queue, as kombu does, and count it as failed."""
        if requeue:
            self.requeue([delivery_tag])
        else:
            self.basic_ack(delivery_tag)

    def basic_recover(self, requeue: bool = False) -> None:
        """Put all unacknowledged deliveries back."""
        self.requeue(list(self.qos.unacked), front=True)

    def give_back(self, tags: Iterable[str], *, counted: bool = False) -> None:
        """Put deliveries back at their old place, as they came. `counted`: they were begun, and count as failed."""
        if counted:
            self.requeue(list(tags), front=True)
            return
        pop = self.qos.unacked.pop
        self._return([(tag, source) for tag in reversed(list(tags)) if (source := pop(tag, None)) is not None])

    def _return(self, deliveries: Sequence[tuple[str, Source]]) -> None:
        """Put deliveries back as they came, that of the last one last: it will be the first to be consumed."""
        deliveries = [delivery for delivery in deliveries if delivery[0]]
        self._uncount([tag for tag, _ in deliveries])
        for first in range(0, len(deliveries), AT_ONCE):
            chunk = deliveries[first : first + AT_ONCE]
            lists = [*dict.fromkeys(source.key for _, source in chunk)]
            arguments = [part for tag, s in chunk for part in (tag, lists.index(s.key) + 1, len(s.tail))]
            self._link.script(GIVE_BACK, [*self._kept(), *lists], arguments)
        self._look_again()

    def requeue(self, tags: Sequence[str], *, front: bool = False) -> None:
        """Put deliveries back and mark them as redelivered: at the end of their queues, or to be consumed next."""
        pop = self.qos.unacked.pop
        deliveries = [(tag, source) for tag in tags if (source := pop(tag, None)) is not None]
        if front:
            deliveries.reverse()
        for first in range(0, len(deliveries), AT_ONCE):
            self._requeue(deliveries[first : first + AT_ONCE], "RPUSH" if front else "LPUSH")
        if deliveries:
            self._look_again()

    def _requeue(self, deliveries: Sequence[tuple[str, Source]], how: str) -> None:
        entries = self._link.call("HMGET", self.keys.unacked, *[tag for tag, _ in deliveries])
        lists = [*dict.fromkeys(source.key for _, source in deliveries)]
        arguments: list[Any] = [how]
        for (tag, source), entry in zip(deliveries, entries, strict=True):
            if entry is not None:
                envelope = codec.read(entry[1 : -len(source.tail)])
                arguments += [tag, lists.index(source.key) + 1, codec.mark_redelivered(envelope)]
        self._link.script(PUT_BACK, [*self._kept(), *lists], arguments)

    def defer(self, tag: str, until: float) -> None:
        """Let a delivery wait, held by nobody, and come back to its queue about `until` (seconds since the epoch).

        It waits where unacknowledged ones are, with a score by which its visibility timeout ends then: so a plain
        kombu worker, too, brings it back.
        """
        if self.qos.unacked.pop(tag, None) is not None:
            self._uncount([tag])
            self._transport.defer([tag, DEFERRED + tag, max(until - self._transport.visibility_s, 1.0)])

    def send_deferred(self, arguments: Sequence[Any]) -> None:
        """Let deliveries wait: (tag, new tag, score) of each."""
        for first in range(0, len(arguments), 3 * AT_ONCE):
            self._link.script(DEFER, self._kept(), arguments[first : first + 3 * AT_ONCE])

    def _kept(self) -> list[str]:
        return [self.keys.unacked, self.keys.index, self._transport.lease.held]

    # -- count: only what was marked as redelivered, by us or by a peer

    def counted(self, taken: list[Taken], again: Sequence[int]) -> list[Taken]:
        """Count the deliveries of those that are not delivered for the first time, before they are delivered."""
        keys, commands = [], list[Command]()
        for place in again:
            tag, _, envelope, _ = taken[place]
            assert isinstance(envelope, dict), "what was redelivered is decoded at once"
            key = self.keys.count(codec.message_id(envelope) or tag)
            keys.append(key)
            commands += [("INCR", key), ("EXPIRE", key, COUNT_KEPT_S)]
        counts = self._link.pipeline(commands)[::2]
        if self._count_keys is None:
            self._count_keys = {}
        for place, key, count in zip(again, keys, counts, strict=True):
            self._count_keys[taken[place].tag] = key
            taken[place] = taken[place]._replace(failed=int(count))
        return taken

    def forget_counts(self, tags: Iterable[str]) -> None:
        """Forget the counts of what is settled."""
        keys = self._pop_counts(tags)
        if keys:
            self._link.call("DEL", *keys)

    def _uncount(self, tags: Iterable[str]) -> None:
        """Take back the count of deliveries that were no attempts."""
        keys = self._pop_counts(tags)
        if keys:
            self._link.pipeline([("DECR", key) for key in keys])

    def _pop_counts(self, tags: Iterable[str]) -> list[str]:
        known = self._count_keys
        return [key for tag in tags if (key := known.pop(tag, None)) is not None] if known else []


def split_entry(entry: bytes) -> tuple[bytes, str, str]:
    """Return message, exchange and routing key of an entry of `unacked`. Raises ValueError or TypeError."""
    message, exchange, routing_key = json.loads(entry)
    tail = f',"",{codec.encode(routing_key)}]'.encode()
    if not exchange and entry.endswith(tail):
        return entry[1 : -len(tail)], "", routing_key  # ours: as it came
    return codec.encode(message).encode(), exchange or "", routing_key or ""
