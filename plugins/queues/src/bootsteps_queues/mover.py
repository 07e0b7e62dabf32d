"""Takes messages from one broker to another, and loses none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bootsteps_queues.copying import fetch, give_back, publish, ready_to_send, task_of

__all__ = ["Mover", "Wish"]

#: Messages that are published together, and then acknowledged. A kill between the two leaves so many in both brokers.
BATCH = 100
#: Seconds between two looks into empty queues.
LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Wish:
    """What to take."""

    #: Source queue -> target queue.
    queues: Mapping[str, str]
    #: Take it out of the source; else it remains there, too.
    acknowledge: bool = False
    #: Only tasks of these names; none: all.
    tasks: frozenset[str] = frozenset()
    #: At most so many messages; None without a limit.
    limit: int | None = None
    #: Stop when nothing came for so many seconds; None: never.
    timeout_s: float | None = 1.0


@dataclass
class Mover:
    """Between two channels. One thread."""

    source: Any
    target: Any
    wish: Wish
    #: Told how many messages more have been moved.
    moved: Callable[[int], object]
    done: dict[str, int] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.done.values())

    def run(self) -> None:
        """Move until there is nothing more. What was not moved is back in its queue at the end."""
        self.done = dict.fromkeys(self.wish.queues, 0)
        last = time.monotonic()
        try:
            while not self._full():
                if self._turn():
                    last = time.monotonic()
                    continue
                if self.wish.timeout_s is not None and time.monotonic() - last >= self.wish.timeout_s:
                    return
                if not self._brought_back():
                    time.sleep(LOOK_EVERY_S)
        finally:
            with suppress(Exception):  # a broker that does not answer gives them back by itself
                give_back(self.source, self._kept)

    def _brought_back(self) -> int:
        """Have back in the queues what a mover or a worker held that was killed: here nobody may consume."""
        bring_back = getattr(self.source, "bring_back", None)
        return 0 if bring_back is None else int(bring_back())

    def _full(self) -> bool:
        return self.wish.limit is not None and self.total >= self.wish.limit

    def _turn(self) -> int:
        """Move a batch from each queue; return how many messages were looked at."""
        return sum(self._batch(name, target) for name, target in self.wish.queues.items() if not self._full())

    def _batch(self, name: str, target: str) -> int:
        """First the target has the messages, then the source loses them."""
        wanted: list[Any] = []
        looked = 0
        while len(wanted) < self._room() and (message := fetch(self.source, name)) is not None:
            looked += 1
            if not self.wish.tasks or task_of(message) in self.wish.tasks:
                wanted.append(message)
            else:
                self._kept.append(message.delivery_tag)
        try:
            if wanted:
                publish(self.target, [(ready_to_send(message, self.target), target) for message in wanted])
        except BaseException:
            self._kept += [message.delivery_tag for message in wanted]
            raise
        self._settle([message.delivery_tag for message in wanted])
        self.done[name] += len(wanted)
        self.moved(len(wanted))
        return looked

    def _room(self) -> int:
        return BATCH if self.wish.limit is None else min(BATCH, self.wish.limit - self.total)

    def _settle(self, tags: Sequence[Any]) -> None:
        if not self.wish.acknowledge:
            self._kept += tags
            return
        many = getattr(self.source, "ack_many", None)
        if many is not None:
            many(tags)
            return
        for tag in tags:
            self.source.basic_ack(tag)
