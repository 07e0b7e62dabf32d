"""Channels that reserve messages in batches and hand them out one by one, each in its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Turns"]


class Reserving(Protocol):
    """A channel with a buffer of reserved messages."""

    #: There may be messages that were not looked at yet.
    maybe_ready: bool

    def deliver_one(self) -> bool:
        """Hand one reserved message to its consumer; False when there is none or the window is full."""

    def deliverable(self) -> bool:
        """Tell whether `deliver_one` would do something."""

    def hungry(self, eager: bool) -> bool:
        """Tell whether to reserve now. Unless `eager`, a busy consumer waits for a part of its window."""

    def reserve(self) -> None:
        """Fill the empty buffer with as many messages as the prefetch count allows."""


class Turns:
    """The part of a transport that asks its channels."""

    channels: Sequence[Reserving]
    _next_channel: int = 0
    #: It is too late to shorten the loop's sleep by a timer.
    _in_tick = False

    def __init__(self) -> None:
        #: Called on a loop when all that had come was delivered.
        self.after_delivery: list[Callable[[], object]] = []

    def _hand_on(self) -> None:
        """Let those go on for whom something was delivered: what they acknowledge waits for the next reservation."""
        in_tick, self._in_tick = self._in_tick, False
        for call in self.after_delivery:
            call()
        self._in_tick = in_tick

    def _deliver_one(self) -> bool:
        # Starting with another channel each time, so that none starves the others.
        channels = self.channels
        for i in range(len(channels)):
            if channels[(self._next_channel + i) % len(channels)].deliver_one():
                self._next_channel += 1
                return True
        return False

    def _reserve(self, eager: bool) -> bool:
        for channel in [c for c in self.channels if c.hungry(eager)]:
            channel.reserve()
        return self._buffered()

    def _wants(self) -> bool:
        return any(channel.hungry(eager=False) for channel in self.channels)

    def _buffered(self) -> bool:
        return any(channel.deliverable() for channel in self.channels)

    def _look_everywhere(self) -> None:
        for channel in self.channels:
            channel.maybe_ready = True
