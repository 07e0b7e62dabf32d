"""Collected publishes, turns and windows, without a broker: a channel that remembers stands at their edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bootsteps_transport_batches.publishing import PublishBatch
from bootsteps_transport_batches.turns import Turns
from bootsteps_transport_batches.window import Window


class Outlet:
    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    def publish_many(self, messages: Sequence[tuple[Any, str, str]]) -> None:
        self.sent.append([message for message, _, _ in messages])


class Shelf:
    """A channel of `Turns`: what it will reserve, and what it has reserved."""

    maybe_ready = False

    def __init__(self, name: str, stock: int, said: list[str]) -> None:
        self.name, self.stock, self.said, self.buffer = name, stock, said, 0

    def deliver_one(self) -> bool:
        if not self.buffer:
            return False
        self.buffer -= 1
        self.said.append(self.name)
        return True

    def deliverable(self) -> bool:
        return self.buffer > 0

    def hungry(self, eager: bool) -> bool:
        return self.stock > 0 and (eager or self.maybe_ready)

    def reserve(self) -> None:
        self.buffer, self.stock = self.stock, 0


class Carrier(Turns):
    def __init__(self, *stocks: int) -> None:
        super().__init__()
        self.said: list[str] = []
        self.channels = [Shelf(name, stock, self.said) for name, stock in zip("abc", stocks, strict=False)]


class Settling:
    """The channel of a window."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def basic_ack(self, tag: int) -> None:
        self.calls.append(("ack", tag))

    def basic_reject(self, tag: int, requeue: bool) -> None:
        self.calls.append(("reject", tag, requeue))

    def basic_recover(self, requeue: bool) -> None:
        self.calls.append(("recover", requeue))


def test_publishes_go_out_together_when_there_are_enough_and_at_a_flush() -> None:
    outlet = Outlet()
    batch = PublishBatch(outlet, max_size=2)
    for name in "abc":
        batch.publish(name, "", "q", mandatory=True)
    assert outlet.sent == [["a", "b"]]
    batch.flush()
    batch.flush()
    assert outlet.sent == [["a", "b"], ["c"]]


@pytest.mark.parametrize("forget", ["discard", "close"])
def test_what_was_collected_can_be_forgotten(forget: str) -> None:
    outlet = Outlet()
    batch = PublishBatch(outlet, max_size=10)
    batch.publish("a", "", "q")
    getattr(batch, forget)()
    batch.flush()
    assert outlet.sent == []


def test_no_channel_starves_the_others() -> None:
    carrier = Carrier(3, 3, 3)
    assert carrier._reserve(eager=True)
    while carrier._deliver_one():
        pass
    assert "".join(carrier.said) == "abcabcabc"
    assert not carrier._buffered()


def test_an_empty_channel_is_passed_over() -> None:
    carrier = Carrier(0, 2)
    carrier._reserve(eager=True)
    assert (carrier._deliver_one(), carrier._deliver_one(), carrier._deliver_one()) == (True, True, False)
    assert carrier.said == ["b", "b"]


def test_who_is_told_to_look_wants_messages_again() -> None:
    carrier = Carrier(0, 1)
    assert not carrier._wants()
    carrier._look_everywhere()
    assert carrier._wants()
    assert carrier._reserve(eager=False)


def test_a_window_is_full_with_as_many_unsettled_as_its_count() -> None:
    window: Window[int, str] = Window(Settling(), 2)
    window.unacked[1] = "q"
    assert (window.can_consume(), window.can_consume_max_estimate()) == (True, 1)
    window.unacked[2] = "q"
    assert (window.can_consume(), window.can_consume_max_estimate()) == (False, 0)
    window.prefetch_count = 0
    assert (window.can_consume(), window.can_consume_max_estimate()) == (True, None)


def test_a_window_keeps_no_messages_and_hands_settling_to_its_channel() -> None:
    channel = Settling()
    window: Window[int, str] = Window(channel)
    window.append("a message", 1)
    with pytest.raises(KeyError):
        window.get(1)
    window.ack(1)
    window.reject(2, requeue=True)
    window.restore_unacked_once()
    assert channel.calls == [("ack", 1), ("reject", 2, True), ("recover", True)]
