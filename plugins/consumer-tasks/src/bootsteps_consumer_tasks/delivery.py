"""A message with its right to be settled, once."""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = ["Delivery", "Line"]


class Line:
    """The connection that deliveries came by. When it is down, nothing can be settled by it any more."""

    __slots__ = ("up",)

    def __init__(self) -> None:
        self.up = True


class Delivery:
    """Settles one message. Loop thread only. Each method tells whether the broker was told."""

    __slots__ = ("_line", "_message", "settled")

    def __init__(self, message: Any, line: Line) -> None:
        self._message = message
        self._line = line
        self.settled = False

    @property
    def redelivered(self) -> bool:
        """The broker has delivered it before, to us or to somebody else."""
        info = self._message.delivery_info or {}
        return bool(info.get("redelivered") or (self._message.headers or {}).get("redelivered"))

    @property
    def attempts(self) -> int:
        """How many earlier deliveries were not acknowledged, as far as the broker counts."""
        info, headers = self._message.delivery_info or {}, self._message.headers or {}
        counted = info.get("delivery_count", headers.get("x-delivery-count"))
        return int(counted) if counted is not None else int(self.redelivered)

    def on(self, line: Line) -> bool:
        """Tell whether it came by this line."""
        return self._line is line

    def ack(self) -> bool:
        """The work is done: let the broker forget the message."""
        return self._settle(self._message.ack)

    def reject(self) -> bool:
        """The message cannot be worked on: let the broker drop it."""
        return self._settle(self._message.reject)

    def requeue(self) -> bool:
        """Give the message back."""
        return self._settle(self._message.requeue)

    def give_back(self) -> bool:
        """Give back a message that nobody began to work on: not a failed attempt, where the transport can tell."""
        give_back = getattr(self._message.channel, "give_back", None)
        if give_back is None:
            return self.requeue()
        return self._settle(partial(give_back, [self._message.delivery_tag]))

    def _settle(self, how: Any) -> bool:
        if self.settled or not self._line.up:
            return False
        how()
        self.settled = True
        return True
