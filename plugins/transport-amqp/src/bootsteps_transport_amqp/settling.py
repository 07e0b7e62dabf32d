"""Which acknowledgements to send for many deliveries: as few as is right."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

__all__ = ["Unsettled", "ack_frame"]

ACK = Struct(">BHIHHQBB").pack


def ack_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """Return the frame of a basic.ack."""
    return ACK(1, channel, 13, 60, 80, tag, multiple, 0xCE)


class Unsettled:
    """The deliveries of a channel that the broker waits for. Loop thread only."""

    __slots__ = ("_done", "_seen", "_waiting")

    def __init__(self) -> None:
        #: Tags in their order, which is that of a dict.
        self._waiting: dict[int, None] = {}
        #: Those of them that are acknowledged, and not yet told to the broker.
        self._done: set[int] = set()
        #: Of those what `overdue` has seen.
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def untold(self) -> int:
        """How many acknowledgements the broker does not know of."""
        return len(self._done)

    def add(self, tag: int) -> None:
        """Note a delivery."""
        self._waiting[tag] = None

    def forget(self, tag: int) -> None:
        """It is settled in another way."""
        self._waiting.pop(tag, None)
        self._done.discard(tag)

    def done(self, tags: Iterable[int]) -> list[int]:
        """Note what is to be acknowledged; return those that were never noted as delivered."""
        strange = []
        for tag in tags:
            if tag in self._waiting:
                self._done.add(tag)
            else:
                strange.append(tag)
        return strange

    def up_to(self, tag: int) -> list[int]:
        """Return the deliveries up to this one."""
        return [waiting for waiting in self._waiting if waiting <= tag]

    def run(self) -> int:
        """Take the oldest deliveries that are all acknowledged; return the last of them, 0 if there is none.

        For them one multiple acknowledgement is right.
        """
        last, done = 0, self._done
        if done:
            gone = []
            for tag in self._waiting:
                if tag not in done:
                    break
                gone.append(tag)
            for tag in gone:
                del self._waiting[tag]
            done.difference_update(gone)
            last = gone[-1] if gone else 0
        return last

    def rest(self) -> list[int]:
        """Take the others that are acknowledged: they need an acknowledgement each."""
        return self._take(self._done)

    def overdue(self) -> list[int]:
        """Take those of the others that were acknowledged when this was called the last time."""
        taken = self._take(self._seen & self._done)
        self._seen = set(self._done)
        return taken

    def _take(self, tags: set[int]) -> list[int]:
        taken = sorted(tags)
        self._done.difference_update(taken)
        for tag in taken:
            del self._waiting[tag]
        return taken
