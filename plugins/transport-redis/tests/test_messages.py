# mypy: disable-error-code="no-untyped-call"
"""Messages go both ways between this transport and kombu's, and each is in its queue or registered, always."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

Connect = Callable[..., Connection]
Drain = Callable[..., None]
SEP = "\x06\x16"


def queue(name: str = "letters", **options: Any) -> Queue:
    return Queue(name, Exchange(name), routing_key=name, **options)


def publish(connection: Any, target: Queue, *bodies: Any, **options: Any) -> None:
    channel = connection.channel()
    producer = Producer(channel)
    for body in bodies:
        producer.publish(body, exchange=target.exchange, routing_key=target.routing_key, declare=[target], **options)


def consume(connection: Any, *queues: Queue, prefetch: int = 0, **options: Any) -> tuple[Any, list[Any]]:
    """Return a consumer that consumes, and the list of what it gets."""
    got: list[Any] = []
    consumer = Consumer(connection.channel(), queues, on_message=got.append, **options)
    if prefetch:
        consumer.qos(prefetch_count=prefetch)
    consumer.consume()
    return consumer, got


@pytest.mark.parametrize("direction", ["from a peer", "to a peer", "among us"])
def test_messages_go_both_ways(connect: Connect, peer: Connect, direction: str, drain: Drain) -> None:
    sender = peer() if direction == "from a peer" else connect()
    receiver = peer() if direction == "to a peer" else connect()
    publish(sender, queue(), "one", "two", headers={"a": [1, None]}, priority=0)
    _, got = consume(receiver, queue())
    drain(receiver, got, 2)
    assert [message.payload for message in got] == ["one", "two"]
    assert got[0].headers == {"a": [1, None]}
    assert got[0].delivery_info["exchange"] == "letters"
    assert got[0].delivery_info["routing_key"] == "letters"


def test_a_body_is_untouched(connect: Connect, peer: Connect, drain: Drain) -> None:
    body = bytes(range(256)) * 10
    publish(peer(), queue(), body, content_type="application/x", content_encoding="binary")
    con = connect()
    _, got = consume(con, queue())
    drain(con, got, 1)
    assert got[0].body == body


def test_a_delivery_is_registered_as_kombu_does_and_forgotten_when_it_is_acknowledged(
    connect: Connect, server: Any, drain: Drain
) -> None:
    con = connect()
    publish(con, queue(), "one", "two")
    raws = server.lrange("letters", 0, -1)
    _, got = consume(con, queue())
    drain(con, got, 2)
    assert server.llen("letters") == 0
    entries = server.hgetall("unacked")
    assert set(entries.values()) == {b'[%s,"","letters"]' % raw for raw in raws}
    scores = dict(server.zrange("unacked_index", 0, -1, withscores=True))
    assert scores.keys() == entries.keys()
    assert all(abs(score - time()) < 5 for score in scores.values())
    for message in got:
        message.ack()
    con.transport.flush()
    assert not server.exists("unacked", "unacked_index")
    assert not server.keys("_bootsteps.held.*")


def test_priorities_are_strict_as_in_kombu(connect: Connect, peer: Connect, drain: Drain) -> None:
    for priority in (9, 3, 0, 6, 4):
        publish(peer(), queue(), f"peer's {priority}", priority=priority)
        publish(connect(), queue(), f"ours {priority}", priority=priority)
    con = connect()
    _, got = consume(con, queue())
    drain(con, got, 10)
    order = [message.payload for message in got]
    assert order == [f"{who} {priority}" for priority in (0, 3, 4, 6, 9) for who in ("peer's", "ours")]


def test_weights_share_a_batch_among_priorities(connect: Connect, drain: Drain) -> None:
    sender = connect()
    for priority in (0, 9):
        publish(sender, queue(), *[priority] * 40, priority=priority)
    con = connect(priority_weights={0: 3, 3: 0, 6: 0, 9: 1})
    _, got = consume(con, queue(), prefetch=20)
    drain(con, got, 20)
    assert sum(message.payload == 9 for message in got) in (5, 6)
    one_by_one = []
    for _ in range(20):
        message = consume_one(con, got, drain)
        one_by_one.append(message.payload)
    assert 3 <= one_by_one.count(9) <= 7


def consume_one(con: Any, got: list[Any], drain: Drain) -> Any:
    """Acknowledge the oldest and return what takes its place."""
    got.pop(0).ack()
    n = len(got)
    drain(con, got, n + 1)
    return got[-1]


@pytest.mark.parametrize("prefetch", [1, 12])
def test_several_queues_are_served_fairly(connect: Connect, prefetch: int, drain: Drain) -> None:
    con, queues = connect(), [queue(f"q{i}") for i in range(3)]
    for each in queues:
        publish(con, each, *[each.name] * 30)
    _, got = consume(con, *queues, prefetch=prefetch)
    drain(con, got, prefetch)
    order = [message.payload for message in got]
    while len(order) < 12:
        order.append(consume_one(con, got, drain).payload)
    assert all(3 <= order.count(each.name) <= 5 for each in queues), order


def test_no_more_is_taken_than_the_window_allows(connect: Connect, server: Any, drain: Drain) -> None:
    con = connect()
    publish(con, queue(), *range(20))
    consumer, got = consume(con, queue(), prefetch=4)
    drain(con, got, 4)
    with pytest.raises(TimeoutError):
        con.drain_events(timeout=0.1)
    assert server.llen("letters") == 16
    consumer.qos(prefetch_count=6)
    drain(con, got, 6)
    got[0].ack()
    drain(con, got, 7)
    assert server.llen("letters") == 13


def test_publish_many_sends_them_together(connect: Connect, peer: Connect, server: Any, drain: Drain) -> None:
    con = connect()
    channel = con.channel()
    queue()(channel).declare()
    before = server.info("stats")["total_reads_processed"]
    messages = [(channel.prepare_message(f"{i}", content_type="text/plain", content_encoding="utf-8"), "letters",
                 "letters") for i in range(500)]  # fmt: skip
    channel.publish_many(messages)
    assert server.info("stats")["total_reads_processed"] - before < 40  # a large write takes more than one read
    other = peer()
    _, got = consume(other, queue())
    drain(other, got, 500)
    assert [message.payload for message in got] == [str(i) for i in range(500)]


def test_a_batch_for_several_queues_and_priorities_keeps_their_order(connect: Connect, server: Any) -> None:
    channel = connect().channel()
    for name in ("letters", "parcels"):
        queue(name)(channel).declare()
    queue("passing", expires=60)(channel).declare()
    targets = [("letters", 0), ("letters", 3), ("parcels", 0), ("passing", 0)]
    batch = [
        (channel.prepare_message(f"{i}", priority, "text/plain", "utf-8"), name, name)
        for i in range(50) for name, priority in targets for _ in range(2)
    ]  # fmt: skip
    channel.publish_many(batch)
    for key in ("letters", f"letters{SEP}3", "parcels", "passing"):
        found = [json.loads(raw)["body"] for raw in reversed(server.lrange(key, 0, -1))]
        assert [b64decode(body) for body in found] == [b"%d" % (i // 2) for i in range(100)]
    assert server.pttl("passing") > 0
    before = server.info("commandstats")["cmdstat_lpush"]["calls"]
    channel.publish_many([(channel.prepare_message("x"), "letters", "letters") for _ in range(500)])
    assert server.info("commandstats")["cmdstat_lpush"]["calls"] == before + 1


def test_publishing_one_by_one_takes_one_round_trip_and_sees_new_bindings(connect: Connect, server: Any) -> None:
    con = connect()
    publish(con, queue(), "first")
    producer = Producer(con.channel())
    queue()(producer.channel).declare()
    producer.publish("second", exchange="letters", routing_key="letters")
    before = server.info("stats")["total_reads_processed"]
    for _ in range(100):
        producer.publish("more", exchange="letters", routing_key="letters")
    assert server.info("stats")["total_reads_processed"] - before < 110
    other = Queue("copies", Exchange("letters"), routing_key="letters")
    other(connect().channel()).declare()
    producer.publish("last", exchange="letters", routing_key="letters")
    assert server.llen("letters") == 103
    assert server.llen("copies") == 1


def test_a_producers_batch_is_sent_when_it_ends(connect: Connect, server: Any) -> None:
    con = connect()
    producer = Producer(con.channel())
    with producer.batch():
        for i in range(3):
            producer.publish(i, exchange="", routing_key="letters")
        assert server.llen("letters") == 0
    assert server.llen("letters") == 3


@pytest.mark.parametrize("direction", ["from a peer", "to a peer"])
def test_fanout_reaches_everybody_who_listens(connect: Connect, peer: Connect, direction: str, drain: Drain) -> None:
    sender = peer() if direction == "from a peer" else connect()
    exchange = Exchange("news", type="fanout")
    receivers = [(peer if direction == "to a peer" else connect)() for _ in range(2)]
    consumed = [
        consume(each, Queue(f"news.{i}", exchange, auto_delete=True), no_ack=True) for i, each in enumerate(receivers)
    ]
    for each in receivers:
        with suppress(TimeoutError):
            each.drain_events(timeout=0.1)  # kombu's transport subscribes here
    for text in ("first channel", "second channel"):
        Producer(sender.channel(), exchange=exchange).publish(text, routing_key="")
    for each, (_, got) in zip(receivers, consumed, strict=True):
        drain(each, got, 2)
        assert [message.payload for message in got] == ["first channel", "second channel"]


def test_a_topic_exchange_routes_by_pattern(connect: Connect, peer: Connect, drain: Drain) -> None:
    con, exchange = connect(), Exchange("zoo", type="topic")
    birds = Queue("birds", exchange, routing_key="bird.*")
    _, got = consume(con, birds)
    for sender in (con, peer()):
        producer = Producer(sender.channel(), exchange=exchange)
        birds(producer.channel).declare()
        producer.publish("owl", routing_key="bird.owl")
        producer.publish("cat", routing_key="mammal.cat")
    drain(con, got, 2)
    with pytest.raises(TimeoutError):
        con.drain_events(timeout=0.1)
    assert [message.payload for message in got] == ["owl", "owl"]


def test_queues_can_be_measured_purged_and_deleted(connect: Connect, peer: Connect, server: Any) -> None:
    con = connect()
    publish(con, queue(), "a")
    publish(con, queue(), "b", priority=9)
    channel = con.channel()
    assert queue()(channel).queue_declare(passive=True).message_count == 2
    assert channel.queue_purge("letters") == 2
    assert server.smembers("_kombu.binding.letters") == {f"letters{SEP}{SEP}letters".encode()}
    publish(con, queue(), "c")
    bound = queue()(channel)
    bound.declare()
    bound.delete()
    assert not server.exists("letters", "_kombu.binding.letters", "_kombu.binding_permanent.letters")


def test_get_takes_one_and_registers_it(connect: Connect, server: Any) -> None:
    con = connect()
    publish(con, queue(), "a", "b")
    channel = con.channel()
    first = channel.basic_get("letters")
    assert first.payload == "a"
    assert server.hlen("unacked") == 1
    first.ack()
    assert server.hlen("unacked") == 0
    assert channel.basic_get("letters", no_ack=True).payload == "b"
    assert channel.basic_get("letters") is None


def test_what_is_given_back_is_as_if_it_had_never_left(connect: Connect, server: Any, drain: Drain) -> None:
    con = connect()
    publish(con, queue(), "a", "b", "c")
    before = server.lrange("letters", 0, -1)
    consumer, got = consume(con, queue())
    drain(con, got, 3)
    consumer.cancel()
    consumer.channel.give_back([message.delivery_tag for message in got])
    assert server.lrange("letters", 0, -1) == before
    assert not server.exists("unacked", "unacked_index")


def test_a_requeued_message_comes_again_at_the_end_and_is_counted(connect: Connect, drain: Drain) -> None:
    con = connect()
    publish(con, queue(), "a", "b")
    _, got = consume(con, queue(), prefetch=1)
    drain(con, got, 1)
    assert got[0].delivery_info["delivery_count"] == 0
    for n in (1, 2):
        got[-1].requeue()  # "a"
        drain(con, got, 2 * n)
        assert got[-1].payload == "b"
        assert got[-1].delivery_info["delivery_count"] == n - 1
        got[-1].requeue()
        drain(con, got, 2 * n + 1)
        assert got[-1].payload == "a"
        assert got[-1].headers["redelivered"]
        assert got[-1].delivery_info["delivery_count"] == n


def test_giving_back_does_not_count_and_an_acknowledgement_ends_the_count(
    connect: Connect, server: Any, drain: Drain
) -> None:
    con = connect()
    publish(con, queue(), "a")
    consumer, got = consume(con, queue())
    drain(con, got, 1)
    got[-1].requeue()
    for _ in range(3):
        drain(con, got, len(got) + 1)
        assert got[-1].delivery_info["delivery_count"] == 1
        consumer.channel.give_back([got[-1].delivery_tag])
    drain(con, got, len(got) + 1)
    assert server.keys("_bootsteps.count.*")
    got[-1].ack()
    con.transport.flush()
    assert not server.keys("_bootsteps.count.*")


def test_a_message_that_cannot_be_read_hurts_nobody(
    connect: Connect, server: Any, caplog: pytest.LogCaptureFixture, drain: Drain
) -> None:
    con = connect()
    server.lpush("letters", b"\xff{", b"[1]", b'{"properties": 7}', b"{" + b'"a":[' * 5000)
    publish(con, queue(), "good")
    _, got = consume(con, queue())
    drain(con, got, 1)
    assert got[0].payload == "good"
    assert caplog.text.count("cannot be read") == 4
    con.transport.flush()
    assert server.hlen("unacked") == 1


def test_closing_returns_what_was_taken(connect: Connect, server: Any, drain: Drain) -> None:
    con = connect()
    publish(con, queue(), "a", "b", "c", "d")
    _, got = consume(con, queue(), prefetch=3)
    drain(con, got, 2)  # of three that were taken
    con.release()
    assert server.hlen("unacked") == 0
    messages = [json.loads(raw) for raw in reversed(server.lrange("letters", 0, -1))]
    assert [bool(message["headers"].get("redelivered")) for message in messages] == [True, True, False, False]
    again = connect()
    _, got = consume(again, queue())
    drain(again, got, 4)
    assert [message.payload for message in got] == ["a", "b", "c", "d"]


def test_all_keys_have_the_global_prefix(connect: Connect, peer: Connect, server: Any, drain: Drain) -> None:
    con, other = connect(global_keyprefix="app:"), peer(global_keyprefix="app:")
    publish(con, queue(), "ours")
    publish(other, queue(), "theirs")
    _, got = consume(con, queue(), prefetch=1)
    drain(con, got, 1)
    _, theirs = consume(other, queue())
    drain(other, theirs, 1)
    assert got[0].payload == "ours"
    assert theirs[0].payload == "theirs"
    assert all(key.startswith(b"app:") for key in server.keys())  # noqa: SIM118 (a client is no dict)


def test_a_message_wakes_a_consumer_at_once(connect: Connect, peer: Connect, drain: Drain) -> None:
    """Whoever publishes, and without asking all the time."""
    con, other = connect(), peer()
    _, got = consume(con, queue())
    publish(other, queue(), "first")
    drain(con, got, 1)
    producer, waits = Producer(other.channel()), []
    for n in range(20):
        sent: list[float] = []

        def send(n: int = n, sent: list[float] = sent) -> None:
            sent.append(monotonic())
            producer.publish(n, exchange="letters", routing_key="letters")

        timer = threading.Timer(0.02, send)
        timer.start()
        drain(con, got, n + 2)
        waits.append(monotonic() - sent[0])
        timer.join()
    assert sorted(waits)[4] < 0.01  # who only looks every 50 ms finds each of them 30 ms after it was sent


def test_an_idle_consumer_is_idle(connect: Connect, server: Any) -> None:
    con = connect()
    _, _got = consume(con, queue())
    with pytest.raises(TimeoutError):
        con.drain_events(timeout=0.2)
    before = server.info("stats")["total_commands_processed"]
    with pytest.raises(TimeoutError):
        con.drain_events(timeout=1)
    assert server.info("stats")["total_commands_processed"] - before < 10


def test_reservation_and_registration_are_one_step(connect: Connect, url: str, server: Any) -> None:
    """Watch the server: nothing takes a message but the script that registers it."""
    con = connect()
    publish(con, queue(), *range(50))
    with server.monitor() as monitor:
        _, got = consume(con, queue(), prefetch=10)
        while len(got) < 50:
            con.drain_events(timeout=5)
            got[-1].ack()
        con.transport.flush()
        server.set("the end", 1)
        seen: list[str] = []
        for event in monitor.listen():
            if "the end" in event["command"]:
                break
            seen.append(event["command"].split()[0].upper())
    assert "BRPOP" not in seen
    assert seen.count("EVALSHA") <= 12
