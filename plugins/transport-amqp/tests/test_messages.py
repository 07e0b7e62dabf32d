# mypy: disable-error-code="no-untyped-call"
"""Messages on a real RabbitMQ: read, settled, published; beside kombu's own transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amqp.exceptions import NotFound
from kombu import Consumer, Exchange, Producer, Queue

from bootsteps_transport_amqp import consuming, transport
from bootsteps_transport_amqp.confirming import NotTaken
from bootsteps_transport_amqp.message import Message

Connect = Callable[..., Any]
Until = Callable[..., None]


def left(peer: Any, name: str) -> int:
    return int(peer.queue_declare(name, passive=True).message_count)


def consume(channel: Any, name: str, on_message: Callable[[Any], object], **options: Any) -> Consumer:
    consumer = Consumer(
        channel, [Queue(name, Exchange(""), name)], on_message=on_message, auto_declare=False, **options
    )
    consumer.consume()
    return consumer


def test_messages_are_the_same_as_kombus(connect: Connect, peer: Any, name: str, until: Until) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(4):
        Producer(peer).publish(
            {"n": number}, routing_key=name, headers={"task": "a", "id": str(number), "more": [1, {"x": None}]},
            priority=3, correlation_id=f"c{number}", reply_to="somebody", compression="zlib" if number == 3 else None,
        )  # fmt: skip
    theirs = [peer.message_to_python(peer.basic_get(name)) for _ in range(4)]
    peer.basic_recover(requeue=True)
    ours: list[Any] = []
    with connect() as connection:
        consumer = consume(connection.channel(), name, ours.append)
        until(lambda: len(ours) == 4, lambda: connection.drain_events(timeout=20))
        for mine, their in zip(ours, theirs, strict=True):
            assert mine.payload == their.payload
            assert mine.headers == their.headers
            known = {key: value for key, value in their.properties.items() if key != "application_headers"}
            assert {key: value for key, value in mine.properties.items() if key != "application_headers"} == known
            assert mine.delivery_info["exchange"] == ""
            assert mine.delivery_info["routing_key"] == name
            assert mine.delivery_info["redelivered"] is True
            mine.ack()
        assert [type(message) is Message for message in ours] == [True, True, True, False], "the fast way was not taken"
        consumer.cancel()
    assert left(peer, name) == 0


@pytest.mark.parametrize("size", [0, 1, 100_000, 131_064, 131_065, 1_000_000])
def test_bodies_of_any_size_go_both_ways(connect: Connect, peer: Any, name: str, size: int, until: Until) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    body, found = bytes(range(256)) * (size // 256 + 1), list[bytes]()
    body = body[:size]
    with connect() as connection:
        channel = connection.channel()
        channel.basic_publish(channel.prepare_message(body), "", name)
        Producer(peer).publish(body, routing_key=name, content_type="application/data", content_encoding="binary")
        channel.publish_many([(channel.prepare_message(body), "", name)])
        consume(channel, name, lambda message: found.append(bytes(message.body)), no_ack=True)
        until(lambda: len(found) == 3, lambda: connection.drain_events(timeout=20))
    assert found == [body] * 3


def test_on_a_loop_a_thousand_are_settled_in_few_writes(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(1000):
        Producer(peer).publish(number, routing_key=name)
    found: list[Any] = []
    with connect() as connection:
        channel = connection.channel()
        consume(channel, name, found.append)
        connection.register_with_event_loop(hub)
        until(lambda: len(found) == 1000, hub.run_once)
        assert [message.payload for message in found] == list(range(1000))
        writes = connection.connection.bytes_sent
        for message in found:
            message.ack()
        until(lambda: not channel._unsettled, hub.run_once)
        assert connection.connection.bytes_sent - writes < 20
    until(lambda: left(peer, name) == 0)


def test_a_few_acknowledgements_wait_for_more_but_never_a_single_one_that_is_asked_for(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(9):
        Producer(peer).publish(number, routing_key=name)
    held: list[Any] = []
    with connect() as connection:
        channel = connection.channel()
        channel.basic_qos(0, 20, False)
        consume(channel, name, held.append)
        connection.register_with_event_loop(hub)
        until(lambda: len(held) == 9, hub.run_once)
        tick = connection.transport._loop._on_tick

        def settle(how: Any, tags: Any) -> bool:
            """Acknowledge and end the turn; tell whether the broker was told."""
            how(tags)
            tick()
            return not channel._unsettled.untold

        tags = [message.delivery_tag for message in held]
        assert not settle(channel.ack_many, tags[:2])
        until(lambda: not channel._unsettled.untold, hub.run_once)  # soon after
        assert settle(channel.ack_many, tags[2:7]), "a quarter of 20"
        assert settle(channel.basic_ack, tags[7])
        assert not settle(channel.ack_many, tags[8:])
    until(lambda: left(peer, name) == 0)  # also what waited when the connection was closed


def test_acknowledgements_out_of_order_wait_for_those_before_them_up_to_half_of_the_limit(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(60):
        Producer(peer).publish(number, routing_key=name)
    held: list[Any] = []
    with connect() as connection:
        channel = connection.channel()
        channel.basic_qos(0, 80, False)
        consume(channel, name, held.append)
        connection.register_with_event_loop(hub)
        until(lambda: len(held) == 60, hub.run_once)
        channel._unsent_since = float("inf")  # nothing has waited for long
        tick, tags = connection.transport._loop._on_tick, [message.delivery_tag for message in held]

        def untold(done: list[int]) -> int:
            channel.ack_many(done)
            channel._unsent_since = float("inf")
            tick()
            return int(channel._unsettled.untold)

        writes = connection.connection.bytes_sent
        assert untold(tags[1:40]) == 39, "half of 80 are 40"
        assert connection.connection.bytes_sent == writes
        assert untold(tags[:1]) == 0
        assert connection.connection.bytes_sent == writes + 1, "one acknowledgement for forty"
        assert untold(tags[41:50]) == 9
        channel.basic_ack(tags[50])
        assert untold(tags[51:]) == 0, "one that was asked for alone does not wait, nor do the others then"
    until(lambda: left(peer, name) == 1)  # also what waited when the connection was closed


def test_who_goes_on_after_a_delivery_does_so_before_anybody_else_has_a_turn(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(3):
        Producer(peer).publish(number, routing_key=name)
    seen: list[Any] = []
    with connect() as connection:
        consume(connection.channel(), name, lambda message: seen.append(message.payload))
        connection.transport.after_delivery.append(lambda: seen.append("after"))
        connection.register_with_event_loop(hub)
        hub.on_tick.add(lambda: seen.append("tick"))
        until(lambda: 2 in seen, hub.run_once)
    follows = {seen[at + 1] for at, what in enumerate(seen) if type(what) is int}
    assert follows <= {1, 2, "after"}
    assert "after" in follows


def test_who_has_enough_gets_no_more_for_a_moment(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "REST_S", 3600.0)
    peer.queue_declare(name, durable=True, auto_delete=False)
    found: list[Any] = []
    with connect() as connection:
        channel, enough = connection.channel(), 100
        channel.publish_many([(channel.prepare_message(str(number)), "", name) for number in range(1000)])
        consume(channel, name, found.append, no_ack=True)
        connection.transport.have_enough = lambda: len(found) >= enough
        connection.register_with_event_loop(hub)
        until(lambda: left(peer, name) == 0 and len(found) >= enough, hub.run_once)
        assert len(found) <= 100 + transport.DELIVERED_MOST
        enough = 400
        until(lambda: len(found) >= enough, hub.run_once)
        assert len(found) < 400 + transport.DELIVERED_MOST
        monkeypatch.setattr(transport, "REST_S", 0.01)
        connection.transport._loop._resting.cancel()
        connection.transport._loop._resting = None
        until(lambda: len(found) == 1000, hub.run_once)  # the broker may have said more than that
        assert [int(message.body) for message in found] == list(range(1000))


def test_who_has_enough_hears_all_the_same_that_the_broker_has_closed_the_channel(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    with connect() as connection:
        channel, found = connection.channel(), list[Any]()
        channel.publish_many([(channel.prepare_message(str(number)), "", name) for number in range(200)])
        consume(channel, name, found.append, no_ack=True)
        connection.transport.have_enough = lambda: True
        connection.register_with_event_loop(hub)
        until(lambda: left(peer, name) == 0, hub.run_once)
        channel.basic_publish(channel.prepare_message("x"), f"no exchange {name}", "")
        with pytest.raises(NotFound):
            until(lambda: False, hub.run_once)


def test_what_is_not_settled_comes_back_and_only_that(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(100):
        Producer(peer).publish(number, routing_key=name)
    held: list[Any] = []
    connection = connect()
    consume(connection.channel(), name, held.append)
    connection.register_with_event_loop(hub)
    until(lambda: len(held) == 100, hub.run_once)
    for message in held:
        if message.payload % 10 == 3:
            message.requeue()
        elif message.payload % 10 != 7:
            message.ack()
    for _ in range(3):
        hub.run_once()
    connection.close()
    again: list[int] = []
    with connect() as connection:
        consume(connection.channel(), name, lambda message: again.append(message.payload))
        until(lambda: len(again) >= 20, lambda: connection.drain_events(timeout=20))
    assert sorted(again) == [number for number in range(100) if number % 10 in (3, 7)]


def test_a_consumer_that_declares_in_the_middle_loses_nothing(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(300):
        Producer(peer).publish(number, routing_key=name)
    found: list[int] = []
    with connect() as connection:
        channel, other = connection.channel(), connection.channel()

        def on_message(message: Any) -> None:
            found.append(message.payload)
            if message.payload % 50 == 0:
                other.queue_declare(name, passive=True)  # waits for an answer, while others are delivered
            message.ack()

        consume(channel, name, on_message)
        connection.register_with_event_loop(hub)
        until(lambda: len(found) == 300, hub.run_once)
        until(lambda: not channel._unsettled, hub.run_once)
    assert found == list(range(300))
    until(lambda: left(peer, name) == 0)


def test_a_batch_is_in_the_queue_when_it_was_published(connect: Connect, peer: Any, name: str, until: Until) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    with connect() as connection:
        channel = connection.channel()
        for _ in range(2):
            channel.publish_many([(channel.prepare_message(b"x" * 500), "", name) for _ in range(3000)])
        assert left(peer, name) == 6000
        with Producer(channel).batch():
            for _ in range(10):
                Producer(channel).publish("one more", routing_key=name)
        until(lambda: left(peer, name) == 6010)


def test_what_the_broker_does_not_take_is_named_and_the_rest_is_there(connect: Connect, peer: Any, name: str) -> None:
    arguments = {"x-max-length": 5, "x-overflow": "reject-publish"}
    peer.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
    with connect() as connection:
        channel = connection.channel()
        lost = channel.prepare_message(b"lost", properties={"correlation_id": "17"})
        fine = [(channel.prepare_message(b"fine"), "", name) for _ in range(3)]
        with pytest.raises(NotTaken, match=r"1 of 4 messages were not taken.*no queue is bound") as caught:
            channel.publish_many([*fine[:2], (lost, "", f"{name}.nowhere"), fine[2]])
        assert list(caught.value.refused) == [2]
        assert left(peer, name) == 3
        with pytest.raises(NotTaken, match="refused") as caught:
            channel.publish_many(fine * 3)
        assert 0 < len(caught.value.refused) < 9
        peer.queue_purge(name)
        channel.publish_many(fine)
        assert left(peer, name) == 3


def test_a_publisher_that_wants_confirmations_waits_for_each(connect: Connect, peer: Any, name: str) -> None:
    peer.queue_declare(
        name, durable=True, auto_delete=False, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    with connect(confirm_publish=True) as connection:
        channel = connection.channel()
        for _ in range(2):
            channel.basic_publish(channel.prepare_message(b"fits"), "", name)
            assert left(peer, name) == 1
            with pytest.raises(NotTaken, match=r"1 of 1 messages .* refused"):
                Producer(channel).publish("too many", routing_key=name)
            peer.queue_purge(name)
        channel.post_many([(channel.prepare_message(b"an answer"), "", name)])
        channel.basic_publish(channel.prepare_message(b"nobody waits for it"), "", f"{name}.nowhere")
        assert left(peer, name) == 1


def test_after_a_closed_channel_it_goes_on(connect: Connect, peer: Any, name: str) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    with connect() as connection:
        channel = connection.channel()
        message = channel.prepare_message(b"x")
        with pytest.raises(channel.connection.channel_errors):
            channel.publish_many([(message, f"{name}-no-such-exchange", "")])
        channel.publish_many([(message, "", name)])
    assert left(peer, name) == 1


def test_the_prefetch_limit_holds_and_can_be_changed_on_a_loop(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until
) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False)
    for number in range(50):
        Producer(peer).publish(number, routing_key=name)
    held: list[Any] = []
    with connect() as connection:
        channel = connection.channel()
        channel.basic_qos(0, 5, True)
        consume(channel, name, held.append)
        connection.register_with_event_loop(hub)
        until(lambda: len(held) == 5, hub.run_once)
        channel.basic_qos(0, 20, True)
        until(lambda: len(held) == 20, hub.run_once)
        assert left(peer, name) == 30
        until(lambda: len(held) == 20, hub.run_once)


def test_priorities_are_rabbitmqs(connect: Connect, peer: Any, name: str, until: Until) -> None:
    peer.queue_declare(name, durable=True, auto_delete=False, arguments={"x-max-priority": 10})
    found: list[int] = []
    with connect() as connection:
        channel = connection.channel()
        given = [(channel.prepare_message(str(number), priority=number), "", name) for number in (1, 9, 5)]
        channel.publish_many(given)
        channel.basic_qos(0, 1, True)

        def on_message(message: Any) -> None:
            found.append(message.properties["priority"])
            message.ack()

        consume(channel, name, on_message)
        until(lambda: len(found) == 3, lambda: connection.drain_events(timeout=20))
    assert found == [9, 5, 1]


def test_a_limit_of_single_consumers_can_be_changed_too(
    connect: Connect, peer: Any, name: str, hub: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on quorum queues, which know no other; the broker heeds it for new consumers only."""
    monkeypatch.setattr(consuming, "REMEMBERED", 4)
    peer.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    held: list[Any] = []
    with connect() as connection:
        channel = connection.channel()
        channel.publish_many([(channel.prepare_message(str(number)), "", name) for number in range(500)])
        channel.basic_qos(0, 5, False)
        consumer = consume(channel, name, held.append)
        connection.register_with_event_loop(hub)
        until(lambda: len(held) == 5, hub.run_once)
        channel.basic_qos(0, 7, False)  # not worth it
        channel.basic_qos(0, 50, False)
        until(lambda: len(held) == 55, hub.run_once)
        for limit in (10, 100, 20, 200):
            channel.basic_qos(0, limit, False)
            for message in held:
                if not message.acknowledged:
                    message.ack()
            hub.run_once()
        while len(held) < 500:
            before = len(held)
            until(lambda seen=before: len(held) > seen, hub.run_once)
            for message in held:
                if not message.acknowledged:
                    message.ack()
        assert sorted(int(message.body) for message in held) == list(range(500)), "one is lost, or came twice"
        assert len(channel._queues) <= 4, "the tags of consumers that are gone"
        assert channel.queue_of(held[-1].delivery_info["consumer_tag"]) == name
        until(lambda: not channel._unsettled, hub.run_once)
        consumer.cancel()
        Producer(peer).publish("x", routing_key=name)
        until(lambda: left(peer, name) == 1, hub.run_once)
        assert peer.queue_declare(name, passive=True).consumer_count == 0


@pytest.mark.parametrize("kilobytes", [1, 15, 16, 17, 100])
def test_a_method_as_large_as_its_frame_allows_is_written(
    connect: Connect, peer: Any, name: str, kilobytes: int
) -> None:
    """By py-amqp's own writer, which keeps less memory with us."""
    large = {f"x-{number:03}": "a" * 1014 for number in range(kilobytes)}
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=large)
        channel.basic_publish(channel.prepare_message(b"x" * 50_000), routing_key=name, timeout=10)
        message = channel.basic_get(name)
        assert len(message.body) == 50_000
        message.channel.basic_ack(message.delivery_tag)
    assert left(peer, name) == 0


def test_a_heartbeat_is_written(connect: Connect) -> None:
    """The one frame that has no arguments."""
    with connect() as connection:
        connection.connection.send_heartbeat()
        channel = connection.channel()
        assert channel.basic_get(channel.queue_declare("", exclusive=True).queue) is None
