# mypy: disable-error-code="no-untyped-call"
"""Consuming on kombu's event loop, and wake-ups that come at the worst moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from kombu.asynchronous import Hub
from kombu.connection import Connection
from kombu.entity import Queue

from bootsteps_transport_sqlite import transport

Connect = Callable[..., Connection]


class Alert:
    """A poller that does not sleep on once its condition holds, so that a test can tell when it came true."""

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self.condition: Callable[[], bool] = lambda: True

    def poll(self, timeout: float) -> Any:
        return self._poller.poll(0 if self.condition() else timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.poller = Alert(hub.poller)
    yield hub
    hub.close()


@pytest.fixture
def no_reaper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave consumers to their wake-ups."""
    monkeypatch.setattr(transport, "REAP_EVERY_S", 3600.0)


def turn_until(hub: Hub, condition: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = monotonic() + timeout
    hub.poller.condition = condition
    while not condition():
        assert monotonic() < deadline, "the loop turned in vain"
        hub.run_once()


def rows(con: Connection) -> int:
    count: int = con.transport.broker.store.rows("select count(*) from message")[0][0]
    return count


def test_who_goes_on_after_a_delivery_does_so_at_once(connect: Connect, hub: Hub) -> None:
    con, seen = connect(), list[Any]()
    for number in range(3):
        con.Producer().publish(number, routing_key="q")

    def take(message: Any) -> None:
        got.append(message)
        seen.append(message.payload)

    def go_on() -> None:
        seen.append("after")
        for message in got:
            message.ack()

    got: list[Any] = []
    con.Consumer([Queue("q")], on_message=take).consume()
    con.transport.after_delivery.append(go_on)
    con.register_with_event_loop(hub)
    turn_until(hub, lambda: "after" in seen)
    assert seen == [0, 1, 2, "after"]
    turn_until(hub, lambda: rows(con) == 0)


@pytest.mark.usefixtures("no_reaper")
def test_the_loop_delivers_what_others_publish(connect: Connect, hub: Hub) -> None:
    con, other = connect(), connect()
    got: list[Any] = []

    def taken(body: Any, message: Any) -> None:
        got.append(body)
        message.ack()

    other.Producer().publish(-1, routing_key="q")
    with con.Consumer(Queue("q"), callbacks=[taken], prefetch_count=4):
        con.register_with_event_loop(hub)
        turn_until(hub, lambda: got == [-1])
        for number in range(100):
            other.Producer().publish(number, routing_key="q")
        turn_until(hub, lambda: len(got) == 101)
        assert got == list(range(-1, 100))
        turn_until(hub, lambda: rows(other) == 0)


@pytest.mark.usefixtures("no_reaper")
def test_acknowledgements_from_elsewhere_are_committed_within_ten_milliseconds(connect: Connect, hub: Hub) -> None:
    con, other = connect(), connect()
    held: list[Any] = []
    for number in range(5):
        other.Producer().publish(number, routing_key="q")
    with con.Consumer(Queue("q"), on_message=held.append, prefetch_count=100):
        con.register_with_event_loop(hub)
        turn_until(hub, lambda: len(held) == 5)

        def settle() -> None:
            for message in held:
                message.ack()

        hub.call_later(0.02, settle)
        settled = monotonic() + 0.02
        turn_until(hub, lambda: rows(other) == 0)
        assert monotonic() - settled < 1.5  # the loop would sleep for two seconds without our timer


@pytest.mark.usefixtures("no_reaper")
def test_a_freed_place_is_filled_while_the_others_are_busy(connect: Connect, hub: Hub) -> None:
    con, other = connect(), connect()
    held: list[Any] = []
    for number in range(20):
        other.Producer().publish(number, routing_key="q")
    consumer = con.Consumer(Queue("q"), on_message=held.append, prefetch_count=8)
    with consumer:
        con.register_with_event_loop(hub)
        turn_until(hub, lambda: len(held) == 8)
        hub.call_soon(held[3].ack)
        turn_until(hub, lambda: len(held) == 9)
        hub.call_soon(lambda: consumer.qos(prefetch_count=9))
        turn_until(hub, lambda: len(held) == 10)
        hub.call_soon(held[0].requeue)
        turn_until(hub, lambda: len(held) == 11)
        assert held[10].delivery_info["delivery_count"] == 1


@pytest.mark.usefixtures("no_reaper")
def test_a_delayed_message_wakes_the_loop(connect: Connect, hub: Hub) -> None:
    con, other = connect(), connect()
    got: list[Any] = []
    with con.Consumer(Queue("q"), on_message=got.append, no_ack=True):
        con.register_with_event_loop(hub)
        hub.run_once()
        channel: Any = other.default_channel
        channel.publish_delayed(channel.prepare_message(b"later"), "", "q", 0.05)
        sent = monotonic()
        turn_until(hub, lambda: len(got) == 1)
        assert monotonic() - sent < 1.5  # the loop would sleep for two seconds


@pytest.mark.usefixtures("no_reaper")
def test_a_message_between_the_look_and_the_sleep_of_the_loop_is_not_lost(connect: Connect, hub: Hub) -> None:
    con, other = connect(), connect()
    got: list[Any] = []
    with con.Consumer(Queue("q"), on_message=got.append, no_ack=True):
        con.register_with_event_loop(hub)
        for _ in range(3):
            hub.run_once()
        sent: list[bool] = []

        def publish_once_and_see() -> bool:
            if not sent:
                sent.append(True)
                other.Producer().publish(1, routing_key="q")
            return len(got) == 1

        hub.poller.condition = publish_once_and_see  # asked just before the loop sleeps
        began = monotonic()
        while not got:
            hub.run_once()
        assert monotonic() - began < 1.5  # the loop would sleep for two seconds


@pytest.mark.usefixtures("no_reaper")
def test_a_message_between_the_look_and_the_sleep_is_not_lost(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    con, other = connect(), connect()
    got: list[Any] = []
    sleep = transport.readable
    sent: list[bool] = []

    def publish_and_sleep(fd: int, timeout_s: float) -> bool:
        if not sent:
            sent.append(True)
            other.Producer().publish(1, routing_key="q")
        return sleep(fd, timeout_s)

    monkeypatch.setattr(transport, "readable", publish_and_sleep)
    with con.Consumer(Queue("q"), on_message=got.append, no_ack=True):
        con.drain_events(timeout=20)
    assert sent
    assert len(got) == 1


@pytest.mark.usefixtures("no_reaper")
def test_a_full_wake_up_socket_loses_nothing(connect: Connect) -> None:
    con, other = connect(), connect()
    got: list[Any] = []
    with con.Consumer(Queue("q"), on_message=got.append, no_ack=True):
        for number in range(2000):
            other.Producer().publish(number, routing_key="q")
        while len(got) < 2000:
            con.drain_events(timeout=10)


def test_a_message_whose_sender_died_before_the_wake_up_is_found(connect: Connect, hub: Hub) -> None:
    con, other = connect(), connect()
    got: list[Any] = []
    with con.Consumer(Queue("q"), on_message=got.append, no_ack=True):
        con.register_with_event_loop(hub)
        hub.run_once()
        other.connect()
        other.transport.broker._waker.wake = lambda addresses: None
        other.Producer().publish(1, routing_key="q")
        turn_until(hub, lambda: len(got) == 1)


def test_a_closed_connection_leaves_the_loop(connect: Connect, hub: Hub) -> None:
    con = connect()
    consumer = con.Consumer(Queue("q"))
    consumer.consume()
    con.register_with_event_loop(hub)
    hub.run_once()
    assert hub.readers
    assert hub.on_tick
    con.release()
    assert not hub.readers
    assert not hub.on_tick
    hub.call_later(0.01, hub.stop)
    hub.run_forever()
