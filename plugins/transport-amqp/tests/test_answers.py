# mypy: disable-error-code="no-untyped-call"
"""Consumers that ask the broker something, or publish, while other messages and answers are on their way."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import Consumer, Exchange, Producer, Queue

Connect = Callable[..., Any]
Until = Callable[..., None]


@pytest.fixture
def asked(peer: Any, name: str) -> Iterator[list[str]]:
    """Queues that hold 0, 1, 2, ... messages."""
    names = [f"{name}-{count}" for count in range(4)]
    for count, each in enumerate(names):
        peer.queue_declare(each, durable=True, auto_delete=False)
        for _ in range(count):
            Producer(peer).publish("waits", routing_key=each)
    yield names
    for each in names:
        peer.connection.client.channel().queue_delete(each)


def filled(peer: Any, name: str, count: int) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(count):
        Producer(peer).publish(number, routing_key=name)


def consume(channel: Any, name: str, on_message: Callable[[Any], object]) -> Consumer:
    consumer = Consumer(
        channel, [Queue(name, Exchange(""), name)], on_message=on_message, auto_declare=False, no_ack=True
    )
    consumer.consume()
    return consumer


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_each_gets_its_own_answer_and_none_is_lost(
    connect: Connect, peer: Any, name: str, asked: list[str], until: Until, large: bool
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(40):
        Producer(peer).publish([number, "x" * 200_000 * large], routing_key=name)
    found: list[tuple[int, int]] = []
    with connect() as connection:
        channel = connection.channel()

        def on_message(message: Any) -> None:
            number = message.payload[0]
            counted = channel.queue_declare(asked[number % 4], passive=True).message_count
            select.select([connection.connection.sock], [], [], 0.02)  # answers for others may come now, or messages
            Producer(channel).publish(number, routing_key=f"{name}-nowhere")
            found.append((number, counted))

        consume(channel, name, on_message)
        until(lambda: len(found) == 40, lambda: connection.drain_events(timeout=20))
    assert found == [(number, number % 4) for number in range(40)]


def test_a_consumer_may_publish_for_each_of_thousands_that_came_together(
    connect: Connect, peer: Any, name: str, until: Until
) -> None:
    filled(peer, name, 3000)
    found: list[int] = []
    with connect() as connection:
        channel = connection.channel()

        def on_message(message: Any) -> None:
            found.append(message.payload)
            Producer(channel).publish(0, routing_key=f"{name}-nowhere")  # reads what the broker said meanwhile

        consume(channel, name, on_message)
        until(lambda: len(found) == 3000, lambda: connection.drain_events(timeout=20))
    assert found == list(range(3000))


def test_what_came_before_an_answer_is_there_after_it(
    connect: Connect, peer: Any, name: str, asked: list[str], hub: Any, until: Until
) -> None:
    filled(peer, name, 3)
    found: list[int] = []
    with connect() as connection:
        channel = connection.channel()
        consumer = consume(channel, name, lambda message: found.append(message.payload))
        until(lambda: channel.queue_declare(name, passive=True).message_count == 0)
        assert found == []
        connection.drain_events(timeout=20)
        assert found == [0, 1, 2]
        Producer(peer).publish(3, routing_key=name)
        until(lambda: peer.queue_declare(name, passive=True).message_count == 0)
        consumer.cancel()
        assert found == [0, 1, 2, 3], "what came before it was cancelled is the consumer's"
        consumer.consume()
        connection.register_with_event_loop(hub)
        Producer(peer).publish(4, routing_key=name)
        until(lambda: peer.queue_declare(name, passive=True).message_count == 0)
        assert channel.queue_declare(asked[2], passive=True).message_count == 2
        until(lambda: len(found) == 5, hub.run_once)


def test_what_a_closed_channel_had_not_delivered_yet_is_the_brokers(connect: Connect, peer: Any, name: str) -> None:
    filled(peer, name, 3)
    with connect() as connection:
        channel, other = connection.channel(), connection.channel()
        Consumer(channel, [Queue(name, Exchange(""), name)], on_message=pytest.fail, auto_declare=False).consume()
        while other.queue_declare(name, passive=True).message_count:
            pass
        other.queue_declare(name, passive=True)
        assert connection.connection.has_unread
        channel.close()
        assert not connection.connection.has_unread
        assert other.queue_declare(name, passive=True).message_count == 3
