"""A message with its right to be settled, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

__all__ = ["Delivery", "Line", "ack_all", "give_back_all"]


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
    def message(self) -> Any:
        """The kombu message."""
        return self._message

    @property
    def headers(self) -> Mapping[str, Any]:
        """The message's headers as they came."""
        return self._message.headers or {}

    @property
    def info(self) -> Mapping[str, Any]:
        """Exchange, routing key, and what else the transport tells."""
        return self._message.delivery_info or {}

    @property
    def counted(self) -> int | None:
        """How many earlier deliveries were not acknowledged; None where the broker does not count them."""
        info, headers = self._message.delivery_info or {}, self.headers
        found = info.get("delivery_count", headers.get("x-delivery-count"))
        return None if found is None else int(found)

    @property
    def up(self) -> bool:
        """It can still be settled."""
        return self._line.up and not self.settled

    @property
    def redelivered(self) -> bool:
        """The broker has delivered it before, to us or to somebody else."""
        info = self._message.delivery_info or {}
        return bool(info.get("redelivered") or (self._message.headers or {}).get("redelivered"))

    @property
    def attempts(self) -> int:
        """How many earlier deliveries were not acknowledged, as far as the broker counts."""
        counted = self.counted
        return int(self.redelivered) if counted is None else counted

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

    @property
    def can_give_back(self) -> bool:
        """The transport tells a message that is given back from one that failed."""
        return getattr(self._message.channel, "give_back", None) is not None

    def give_back(self) -> bool:
        """Give back a message that nobody began to work on: not a failed attempt, where the transport can tell."""
        give_back = getattr(self._message.channel, "give_back", None)
        if give_back is None:
            return self.requeue()
        return self._settle(partial(give_back, [self._message.delivery_tag]))

    def defer(self, until: float) -> bool:
        """Let the message wait in the broker and come again about `until` (seconds since the epoch).

        False where the transport cannot keep it: then it waits with us.
        """
        message = self._message
        if (defer_message := getattr(message.channel, "defer_message", None)) is not None:
            self.settled = self.up and defer_message(message, until)
            return self.settled
        defer = getattr(message.channel, "defer", None)
        return defer is not None and self._settle(partial(defer, message.delivery_tag, until))

    def _settle(self, how: Any) -> bool:
        if self.settled or not self._line.up:
            return False
        how()
        self.settled = True
        return True


def ack_all(deliveries: Iterable[Delivery]) -> None:
    """Acknowledge those that can still be settled, together where the channel can do that.

    All are tried, and then the first error is raised.
    """
    broken: Exception | None = None
    batches: dict[Any, list[Delivery]] = {}
    for delivery in deliveries:
        message = delivery.message
        if not delivery.up:
            continue
        if getattr(message.channel, "ack_many", None) is not None and not message.acknowledged:
            batches.setdefault(message.channel, []).append(delivery)
            continue
        try:
            delivery.ack()
        except Exception as exc:
            broken = broken or exc
    for channel, found in batches.items():
        channel.ack_many([delivery.message.delivery_tag for delivery in found])
        for delivery in found:
            delivery.settled, delivery.message._state = True, "ACK"  # as kombu's Message.ack
    if broken is not None:
        raise broken


def give_back_all(deliveries: Iterable[Delivery]) -> None:
    """Give back messages that nobody began to work on, oldest first, by channels that can do that."""
    batches: dict[Any, list[Delivery]] = {}
    for delivery in deliveries:
        if delivery.up:
            batches.setdefault(delivery.message.channel, []).append(delivery)
    for channel, found in batches.items():
        channel.give_back([delivery.message.delivery_tag for delivery in found], counted=False)
        for delivery in found:
            delivery.settled, delivery.message._state = True, "REQUEUED"
