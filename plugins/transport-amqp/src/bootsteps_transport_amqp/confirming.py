# mypy: disable-error-code="no-untyped-call,misc"
"""Many messages published together, and their confirmations waited for together."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError, RecoverableConnectionError

from bootsteps_transport_amqp.writing import FRAME_OVERHEAD, Frames

if TYPE_CHECKING:
    from bootsteps_transport_amqp.connection import Connection

__all__ = ["REFUSED", "SILENT_S", "Confirming", "NotTaken"]

#: Written at once.
WRITE_BYTES = 262144
#: At most so many messages are on their way without a confirmation.
MOST_OPEN = 5000
#: Seconds without any confirmation after which the connection counts as broken.
SILENT_S = 10.0
REFUSED = "refused (the queue is full, or the broker failed)"


class NotTaken(ChannelError):
    """The broker did not take some messages of a batch; `refused` says which, by their places in it, and why."""

    def __init__(self, refused: dict[int, str], of: int) -> None:
        self.refused = refused
        reasons = ", ".join(sorted(set(refused.values())))
        super().__init__(f"{len(refused)} of {of} messages were not taken by the broker: {reasons}; the others were")


class Confirming:
    """Publishes batches on a channel of its own, in confirm mode; the others stay without."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel = channel = connection.channel()
        self._whole = True
        self._frames = Frames()
        #: The number of the last message, and those without a confirmation, by number: their places in the batch.
        self._number = 0
        self._open: dict[int, int] = {}
        self._refused: dict[int, str] = {}
        self._messages: Sequence[tuple[Any, str, str]] = ()
        channel.confirm_select()
        heard = {"basic_ack": self._on_ack, "basic_nack": self._on_nack, "basic_return": self._on_return}
        for event, callback in heard.items():
            channel.events[event].add(callback)

    @property
    def usable(self) -> bool:
        """The channel is still what it was: one that the broker closed is opened again, without confirmations."""
        return self._whole and self._channel.connection is not None

    def publish(self, messages: Sequence[tuple[Any, str, str]]) -> None:
        """Publish messages with exchange and routing key of each, and wait for their confirmations.

        Raises `NotTaken` when the broker refuses some or has no queue for them; the others are published.
        """
        self._whole = False
        self._publish(messages)
        self._whole = True
        if self._refused:
            raise NotTaken(self._refused, len(messages))

    def _publish(self, messages: Sequence[tuple[Any, str, str]]) -> None:
        self._open, self._refused, self._messages = {}, {}, messages
        number, largest = self._channel.channel_id, self._connection.frame_max - FRAME_OVERHEAD
        out, size = [], 0
        for place, (message, exchange, routing_key) in enumerate(messages):
            for frame in self._frames.of(number, largest, message, exchange, routing_key, True):
                out.append(frame)
                size += len(frame)
            self._number += 1
            self._open[self._number] = place
            if size >= WRITE_BYTES:
                self._connection.write(b"".join(out))
                out, size = [], 0
                self._wait(MOST_OPEN)
        self._connection.write(b"".join(out))
        self._wait(0)

    def _wait(self, most: int) -> None:
        """Wait until at most so many are without a confirmation."""
        heard, before = monotonic(), len(self._open)
        while len(self._open) > most:
            try:
                self._connection.drain_events(timeout=SILENT_S)
            except TimeoutError as exc:
                raise RecoverableConnectionError(f"no confirmation within {SILENT_S:g} s") from exc
            if len(self._open) != before:
                heard, before = monotonic(), len(self._open)
            elif monotonic() - heard > SILENT_S:
                raise RecoverableConnectionError(f"no confirmation within {SILENT_S:g} s")

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for number in self._confirmed(tag, multiple):
            self._open.pop(number, None)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        for number in self._confirmed(tag, multiple):
            place = self._open.pop(number, None)
            if place is not None:
                self._refused.setdefault(place, REFUSED)

    def _confirmed(self, tag: int, multiple: bool) -> list[int]:
        if not multiple:
            return [tag]
        found = []
        for number in self._open:
            if number > tag:
                break
            found.append(number)
        return found

    def _on_return(self, error: Exception, exchange: str, routing_key: str, returned: Any) -> None:
        """No queue took a message. It is recognised by what it carries; equal ones are returned equally often."""

        def is_it(message: Any) -> bool:
            known, found = message.properties.get("correlation_id"), returned.properties.get("correlation_id")
            return bool(known == found) and _body(message) == _body(returned)

        for place, (message, *route) in enumerate(self._messages):
            if place not in self._refused and route == [exchange, routing_key] and is_it(message):
                self._refused[place] = f"no queue is bound to the exchange {exchange!r} by {routing_key!r}"
                return


def _body(message: Any) -> bytes:
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)
