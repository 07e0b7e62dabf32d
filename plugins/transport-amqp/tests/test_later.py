# mypy: disable-error-code="no-untyped-call"
"""Messages that wait in the broker, on classic and quorum queues, and Celery's own part in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kombu import Consumer, Exchange, Producer, Queue
from kombu.transport.native_delayed_delivery import declare_native_delayed_delivery_exchanges_and_queues

Connect = Callable[..., Any]
Until = Callable[..., None]
TYPES: dict[str, dict[str, Any]] = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


@pytest.fixture(params=list(TYPES))
def queue(request: pytest.FixtureRequest, peer: Any, name: str) -> str:
    peer.queue_declare(name, durable=True, auto_delete=False, arguments=TYPES[request.param])
    return name


def consume(channel: Any, name: str, on_message: Callable[[Any], object]) -> None:
    queue = Queue(name, Exchange(""), name)
    Consumer(channel, [queue], on_message=on_message, auto_declare=False).consume()


def test_what_is_published_for_later_comes_later(connect: Connect, peer: Any, queue: str, until: Until) -> None:
    found: list[Any] = []
    with connect() as connection:
        channel = connection.channel()
        began = time.time()
        message = channel.prepare_message(b"{}", headers={"task": "a", "id": "b"}, properties={"delivery_mode": 2})
        assert channel.publish_later([(message, queue, began + 3.5)])
        assert peer.queue_declare(queue, passive=True).message_count == 0
        consume(channel, queue, found.append)
        until(lambda: found, lambda: connection.drain_events(timeout=20))
        assert time.time() - began > 1.9
        assert found[0].headers == {"task": "a", "id": "b"}, "the way is not to be seen"
        assert (found[0].delivery_info["exchange"], found[0].delivery_info["routing_key"]) == ("", queue)
        found[0].ack()


def test_a_delivery_waits_and_comes_again_though_it_waited_before(
    connect: Connect, peer: Any, queue: str, hub: Any, until: Until
) -> None:
    Producer(peer).publish({"n": 1}, routing_key=queue, headers={"task": "a", "id": "b"}, expiration=500)
    found: list[Any] = []
    with connect() as connection:
        channel = connection.channel()

        def on_message(message: Any) -> None:
            found.append(message)
            if len(found) < 3:
                assert channel.defer_message(message, time.time() + 2.2)

        consume(channel, queue, on_message)
        connection.register_with_event_loop(hub)
        until(lambda: len(found) == 3, hub.run_once)
        until(lambda: len(channel._unsettled) == 1, hub.run_once)
        assert [message.payload for message in found] == [{"n": 1}] * 3
        assert found[2].headers == {"task": "a", "id": "b"}
        assert not found[2].delivery_info["redelivered"]
        found[2].ack()


def test_two_queues_do_not_get_what_waits_for_one(connect: Connect, peer: Any, queue: str, until: Until) -> None:
    longer = f"x.{queue}"  # Celery's bindings end with the key, and would catch this one too
    peer.queue_declare(longer, durable=True, auto_delete=True)
    with connect() as connection:
        channel = connection.channel()
        message, when = channel.prepare_message(b"x"), time.time() + 1.2
        channel.publish_later([(message, queue, when), (channel.prepare_message(b"y"), longer, when)])
        until(lambda: peer.queue_declare(longer, passive=True).message_count == 1)
        until(lambda: peer.queue_declare(queue, passive=True).message_count == 1)
    peer.queue_delete(longer)


def test_kombus_own_declaration_agrees(connect: Connect, peer: Any, queue: str, until: Until) -> None:
    with connect() as connection:
        channel = connection.channel()
        channel.publish_later([(channel.prepare_message(b"x"), queue, time.time() + 1.2)])
    declare_native_delayed_delivery_exchanges_and_queues(peer.connection.client, "quorum")  # raises if it differs
    until(lambda: peer.queue_declare(queue, passive=True).message_count == 1)


def test_a_name_that_is_too_long_waits_elsewhere(connect: Connect, peer: Any, name: str) -> None:
    with connect() as connection:
        channel = connection.channel()
        assert not channel.publish_later([(channel.prepare_message(b"x"), "q" * 220, time.time() + 100)])


def test_where_the_queues_for_later_cannot_be_had_the_delivery_stays(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    answers: list[bool] = []
    with connect() as connection:
        channel = connection.channel()
        consume(channel, name, lambda message: answers.append(channel.defer_message(message, time.time() + 100)))
        connection.connection.delays.prepare(name)
        channel.queue_of = lambda consumer: f"{name}.gone"  # as if somebody had deleted it
        connection.register_with_event_loop(hub)
        Producer(peer).publish({}, routing_key=name)
        until(lambda: answers, hub.run_once)
        assert answers == [False]
        assert len(channel._unsettled) == 1


def test_of_many_deliveries_for_later_none_is_forgotten_while_the_first_is_prepared(
    connect: Connect, peer: Any, queue: str, hub: Any, until: Until
) -> None:
    for number in range(200):
        Producer(peer).publish({"n": number}, routing_key=queue, headers={"task": "a", "id": str(number)})
    taken: list[bool] = []
    with connect() as connection:
        channel = connection.channel()
        consume(channel, queue, lambda message: taken.append(channel.defer_message(message, time.time() + 3600)))
        connection.register_with_event_loop(hub)
        until(lambda: len(taken) == 200, hub.run_once)
        until(lambda: not channel._unsettled, hub.run_once)
        connection.collect()  # as a worker ends: what was not written is written
    assert taken == [True] * 200
    assert peer.queue_declare(queue, passive=True).message_count == 0
