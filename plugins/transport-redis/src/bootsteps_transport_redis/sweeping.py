# mypy: disable-error-code="no-untyped-call"
"""Bringing back what nobody holds any more."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bootsteps_transport_redis import codec
from bootsteps_transport_redis.returning import DEFERRED, split_entry
from bootsteps_transport_redis.scripts import PUT_BACK, SWEEP

if TYPE_CHECKING:
    from bootsteps_transport_redis.channel import Channel
    from bootsteps_transport_redis.link import Link

__all__ = ["Sweeper"]

logger = logging.getLogger(__name__)

#: Deliveries brought back in one step; so long may the server be busy with nothing else (about 1 ms).
AT_ONCE = 200


class Sweeper:
    """Puts back into their queues the deliveries of dead holders, and those whose visibility timeout is over.

    All consumers try, and at each turn one does it. What two find is put back once: the second finds it gone.
    """

    def __init__(self, link: Link, visibility_s: float) -> None:
        self._link = link
        self._visibility_s = visibility_s

    def sweep(self, channel: Channel, every_s: float) -> int:
        """Bring back what there is, if nobody did in the last `every_s` seconds; return how many messages."""
        total, turn_ms = 0, max(int(every_s * 900), 1)
        while True:
            found = self._find(channel, turn_ms)
            turn_ms = 0
            if not any(len(part) > 1 for part in found):
                return total
            put = sum(self._put_back(channel, part[0].decode(), part[1:]) for part in found)
            if not put:
                return total  # others are at it
            total += put

    def _find(self, channel: Channel, turn_ms: int) -> list[Any]:
        keys = channel.keys
        arguments = [self._visibility_s, AT_ONCE, keys.helds, turn_ms]
        return self._link.script(SWEEP, [keys.unacked, keys.index, keys.leases, keys.turn], arguments) or []

    def _put_back(self, channel: Channel, holder: str, found: Sequence[bytes]) -> int:
        lists: dict[str, int] = {}
        arguments: list[Any] = ["RPUSH"]
        pairs = list(zip(found[::2], found[1::2], strict=True))
        for tag, entry in reversed(_oldest_first(pairs)):
            for key, text in self._destinations(channel, tag, entry):
                arguments += [tag, lists.setdefault(key, len(lists) + 1), text]
        keys = [channel.keys.unacked, channel.keys.index, channel.keys.held(holder), *lists]
        put = int(self._link.script(PUT_BACK, keys, arguments)) if len(arguments) > 1 else 0
        if put and holder:
            logger.warning("brought back %d messages that a consumer held which is no more (%s)", put, holder)
        return put

    def _destinations(self, channel: Channel, tag: bytes, entry: bytes) -> list[tuple[str, bytes | str]]:
        """Return the lists that an entry goes to, and the message as it goes there."""
        try:
            raw, exchange, routing_key = split_entry(entry)
            envelope = codec.read(raw)
        except (ValueError, TypeError, RecursionError) as exc:
            logger.error("an entry of %s cannot be read and stays there: %s", channel.keys.unacked, exc)
            # Out of the way of the others: looked at again after another visibility timeout.
            self._link.call("ZADD", channel.keys.index, "XX", self._link.now(), tag)
            return []
        text: bytes | str = raw if tag.startswith(DEFERRED.encode()) else codec.mark_redelivered(envelope)
        queues = [queue for queue in channel._lookup(exchange, routing_key) if queue] or [routing_key]
        step = channel._get_message_priority(envelope, reverse=False)
        return [(channel.global_keyprefix + channel._q_for_pri(queue, step), text) for queue in queues]


def _oldest_first(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Sort deliveries by the order in which they were taken; a set has none. Tags of others stay as they are."""

    def number(pair: tuple[bytes, bytes]) -> int:
        last = pair[0].rpartition(b":")[2]
        return int(last) if last.isdigit() and len(last) < 19 else 0

    return sorted(pairs, key=number)
