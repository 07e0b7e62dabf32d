# mypy: disable-error-code="no-untyped-call"
"""What a stock kombu client sees, in one process and blocking."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import ChannelError

from bootsteps_transport_sqlite import broker, catalogue, declarations, messages, transport
from bootsteps_transport_sqlite.topology import topic_matches

Connect = Callable[..., Connection]


class Clock:
    """The time of day, as the broker sees it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (broker, catalogue, declarations, messages, transport):
        monkeypatch.setattr(module, "time", clock, raising=False)
    return clock


def bodies(con: Connection, queue: Queue, limit: int = 100) -> list[Any]:
    """Take and acknowledge what is ready in a queue."""
    found: list[Any] = []
    while (message := queue(con.default_channel).get(accept=["json", "text/plain"])) is not None and len(found) < limit:
        message.ack()
        found.append(message.decode())
    return found


def declared(con: Connection, *queues: Queue) -> None:
    for queue in queues:
        queue(con.default_channel).declare()


def test_a_message_comes_as_it_was_sent(connect: Connect) -> None:
    con = connect()
    got: list[Any] = []
    queue = Queue("tasks", Exchange("ex"), "key")
    con.Producer().publish(
        {"é": [1, None]},
        exchange="ex",
        routing_key="key",
        declare=[queue],
        headers={"id": "x", "time": None, "raw": b"\xff"},
        priority=4,
        correlation_id="c",
        reply_to="r",
    )
    with con.Consumer(queue, on_message=got.append):
        con.drain_events(timeout=5)
    (message,) = got
    assert message.body == b'{"\\u00e9": [1, null]}'
    assert message.decode() == {"é": [1, None]}
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert message.headers == {"id": "x", "time": None, "raw": b"\xff"}
    wanted = {"correlation_id": "c", "reply_to": "r", "priority": 4, "delivery_mode": 2}
    assert wanted.items() <= message.properties.items()
    info = {"exchange": "ex", "routing_key": "key", "redelivered": False, "delivery_count": 0, "priority": 4}
    assert info.items() <= message.delivery_info.items()
    assert message.properties["delivery_info"] == message.delivery_info


@pytest.mark.parametrize("body", [b"\x00\xff raw", b""])
def test_bytes_stay_bytes(connect: Connect, body: bytes) -> None:
    con = connect()
    con.Producer().publish(body, routing_key="q", content_type="application/x-raw", content_encoding="binary")
    message = Queue("q")(con.default_channel).get()
    assert message.body == body


def test_a_compressed_body_is_read(connect: Connect) -> None:
    con = connect()
    con.Producer().publish(["x" * 1000], routing_key="q", compression="zlib")
    assert bodies(con, Queue("q")) == [["x" * 1000]]


def test_queues_and_bindings_are_shared_by_connections(connect: Connect) -> None:
    one, other = connect(), connect()
    declared(one, Queue("q", Exchange("ex"), "key"))
    other.Producer().publish(1, exchange="ex", routing_key="key")
    other.Producer().publish(2, exchange="ex", routing_key="nobody")
    assert bodies(one, Queue("q")) == [1]
    assert ("q", "ex", "key") in other.default_channel.list_bindings()
    one.default_channel.queue_unbind("q", "ex", "key")
    other.Producer().publish(3, exchange="ex", routing_key="key")
    assert bodies(one, Queue("q")) == []


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.c", False),
        ("#", "", True),
        ("a.#", "a", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "a.b.c", False),
        ("*", "a.b", False),
        ("task.#", "tasks.x", False),
        ("a.+", "a.b", False),
    ],
)
def test_topic_patterns_match_as_in_amqp(pattern: str, key: str, matches: bool) -> None:
    assert topic_matches(pattern.split("."), key.split(".")) is matches


def test_a_topic_exchange_routes_by_pattern(connect: Connect) -> None:
    con = connect()
    events = Exchange("ev", "topic")
    workers, everything = Queue("w", events, "worker.#"), Queue("e", events, "#")
    declared(con, workers, everything)
    for key in ("worker.online", "task.sent"):
        con.Producer().publish(key, exchange="ev", routing_key=key)
    assert bodies(con, workers) == ["worker.online"]
    assert bodies(con, everything) == ["worker.online", "task.sent"]


@pytest.mark.parametrize("prefetch", [1, 100])
def test_higher_priority_comes_first_and_order_holds_within(connect: Connect, prefetch: int) -> None:
    con = connect()
    for body, priority in [("a", 0), ("b", 9), ("c", 5), ("d", 9), ("e", 0), ("f", 99), ("g", -1)]:
        con.Producer().publish(body, routing_key="q", priority=priority)
    got: list[str] = []

    def taken(body: str, message: Any) -> None:
        got.append(body)
        message.ack()

    with con.Consumer(Queue("q"), callbacks=[taken], prefetch_count=prefetch):
        while len(got) < 7:
            con.drain_events(timeout=5)
    assert got == ["b", "d", "f", "c", "a", "e", "g"]


def rows(con: Connection) -> int:
    count: int = con.transport.broker.store.rows("select count(*) from message")[0][0]
    return count


def test_expired_messages_are_dropped(connect: Connect, clock: Clock) -> None:
    con = connect()
    short = Queue("short", message_ttl=2.0)
    declared(con, short)
    producer = con.Producer()
    producer.publish("own limit", routing_key="q", expiration=5)
    producer.publish("stays", routing_key="q")
    producer.publish("queue's limit", routing_key="short")
    producer.publish("the lower one", routing_key="short", expiration=1)
    assert con.default_channel.queue_declare("short").message_count == 2
    clock.now += 1.5
    assert con.default_channel.queue_declare("short").message_count == 1
    clock.now += 1
    assert bodies(con, short) == []
    assert con.default_channel.queue_declare("q").message_count == 2
    clock.now += 10
    assert bodies(con, Queue("q")) == ["stays"]
    assert rows(con) == 0


def test_an_expiration_that_is_no_number_is_refused(connect: Connect) -> None:
    channel: Any = connect().default_channel
    message = channel.prepare_message("x", properties={"expiration": "soon"})
    with pytest.raises(ChannelError, match="'soon' is no number of milliseconds"):
        channel.basic_publish(message, "", "q")


def test_an_unused_queue_expires(connect: Connect, clock: Clock) -> None:
    con = connect()
    reply = Queue("reply", Exchange("r"), "k", expires=10.0)
    declared(con, reply)
    con.Producer().publish(1, exchange="r", routing_key="k")
    with con.Consumer(reply):
        clock.now += 60
        con.transport.broker.reap()
        assert con.default_channel.queue_declare("reply", passive=True).consumer_count == 1
    clock.now += 9
    con.transport.broker.reap()
    con.default_channel.queue_declare("reply", passive=True)
    clock.now += 2
    con.transport.broker.reap()
    with pytest.raises(ChannelError, match="no queue 'reply'"):
        con.default_channel.queue_declare("reply", passive=True)
    assert rows(con) == 0
    assert con.default_channel.list_bindings() == []


def test_a_delayed_message_waits_and_keeps_its_place(connect: Connect, clock: Clock) -> None:
    con = connect()
    channel: Any = con.default_channel
    channel.publish_delayed(channel.prepare_message(b"later"), "", "q", 30.0)
    con.Producer().publish(b"now", routing_key="q", content_type="raw")
    got: list[bytes] = []
    with con.Consumer(Queue("q"), on_message=lambda message: got.append(message.body), no_ack=True):
        con.drain_events(timeout=5)
        assert got == [b"now"]
        with pytest.raises(TimeoutError):
            con.drain_events(timeout=0.01)
        assert channel.queue_declare("q").message_count == 0
        clock.now += 31
        con.drain_events(timeout=5)
    assert got == [b"now", b"later"]


def test_an_idle_consumer_wakes_for_a_delayed_message(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "REAP_EVERY_S", 3600.0)
    con, other = connect(), connect()
    got: list[float] = []
    with con.Consumer(Queue("q"), on_message=lambda message: got.append(monotonic()), no_ack=True):
        with pytest.raises(TimeoutError):
            con.drain_events(timeout=0.01)
        channel: Any = other.default_channel
        sent = monotonic()
        channel.publish_delayed(channel.prepare_message(b"later"), "", "q", 0.3)
        con.drain_events(timeout=20)
    assert 0.29 <= got[0] - sent < 10


def test_purge_removes_what_is_ready_only(connect: Connect) -> None:
    con = connect()
    for number in range(5):
        con.Producer().publish(number, routing_key="q")
    held = Queue("q")(con.default_channel).get(accept=["json"])
    assert con.default_channel.queue_purge("q") == 4
    held.requeue()
    assert bodies(con, Queue("q")) == [0]


def test_a_requeued_message_returns_to_its_place_and_is_counted(connect: Connect) -> None:
    con = connect()
    for number in range(3):
        con.Producer().publish(number, routing_key="q")
    queue = Queue("q")(con.default_channel)
    for failed in range(3):
        message = queue.get(accept=["json"])
        assert message.decode() == 0
        assert message.delivery_info["delivery_count"] == failed
        assert message.delivery_info["redelivered"] is (failed > 0)
        assert message.properties["delivery_info"]["redelivered"] is (failed > 0)
        assert message.headers == ({"redelivered": True} if failed else {})
        message.reject(requeue=True)
    assert bodies(con, Queue("q")) == [0, 1, 2]


def test_a_rejected_message_is_gone(connect: Connect) -> None:
    con = connect()
    con.Producer().publish(1, routing_key="q")
    Queue("q")(con.default_channel).get().reject()
    assert rows(con) == 0


def test_given_back_without_count_looks_like_new(connect: Connect) -> None:
    con = connect()
    con.Producer().publish(1, routing_key="q")
    message = Queue("q")(con.default_channel).get()
    channel: Any = con.default_channel
    channel.give_back([message.delivery_tag], counted=False)
    again = Queue("q")(con.default_channel).get()
    assert again.delivery_info["delivery_count"] == 0
    assert again.headers == {}


def test_closing_a_channel_counts_only_what_was_handed_over(connect: Connect) -> None:
    con = connect()
    for number in range(4):
        con.Producer().publish(number, routing_key="q")
    got: list[Any] = []
    channel: Any = con.channel()
    consumer = channel.Consumer(Queue("q"), callbacks=[lambda body, message: got.append(body)])
    consumer.consume()
    con.drain_events(timeout=5)
    con.drain_events(timeout=5)
    assert got == [0, 1]
    assert rows(con) == 4
    channel.close()
    queue = Queue("q")(con.default_channel)
    counts = [(m.decode(), m.delivery_info["delivery_count"]) for m in [queue.get(accept=["json"]) for _ in range(4)]]
    assert counts == [(0, 1), (1, 1), (2, 0), (3, 0)]


def test_recover_gives_everything_back(connect: Connect) -> None:
    con = connect()
    con.Producer().publish(1, routing_key="q")
    queue = Queue("q")(con.default_channel)
    queue.get()
    assert queue.get() is None
    con.default_channel.basic_recover(requeue=True)
    assert bodies(con, Queue("q")) == [1]


def test_the_prefetch_count_is_the_limit(connect: Connect) -> None:
    con = connect()
    held: list[Any] = []
    for number in range(10):
        con.Producer().publish(number, routing_key="q")
    consumer = con.Consumer(Queue("q"), on_message=held.append, prefetch_count=3)
    with consumer:
        for _ in range(3):
            con.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            con.drain_events(timeout=0.02)
        held[0].ack()
        con.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            con.drain_events(timeout=0)
        consumer.qos(prefetch_count=5)
        con.drain_events(timeout=5)
        con.drain_events(timeout=5)
        with pytest.raises(TimeoutError):
            con.drain_events(timeout=0)
    assert len(held) == 6


def test_a_lowered_prefetch_count_returns_the_buffer(connect: Connect) -> None:
    con, other = connect(), connect()
    held: list[Any] = []
    for number in range(10):
        con.Producer().publish(number, routing_key="q")
    consumer = con.Consumer(Queue("q"), on_message=held.append, prefetch_count=10)
    with consumer:
        con.drain_events(timeout=5)
        consumer.qos(prefetch_count=2)
        assert bodies(other, Queue("q")) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_multiple_settles_all_up_to_a_tag(connect: Connect) -> None:
    con = connect()
    held: list[Any] = []
    for number in range(6):
        con.Producer().publish(number, routing_key="q")
    with con.Consumer(Queue("q"), on_message=held.append):
        for _ in range(6):
            con.drain_events(timeout=5)
        held[3].ack(multiple=True)
        channel: Any = con.default_channel
        channel.ack_many([held[5].delivery_tag])
        with pytest.raises(TimeoutError):
            con.drain_events(timeout=0)
        assert rows(con) == 1


def test_a_batch_is_one_transaction(connect: Connect) -> None:
    con, other = connect(), connect()
    producer = con.Producer()
    declared(con, Queue("q"))
    with producer.batch():
        for number in range(50):
            producer.publish(number, routing_key="q")
        assert other.default_channel.queue_declare("q").message_count == 0
    assert bodies(other, Queue("q")) == list(range(50))

    def fail() -> None:
        with producer.batch():
            producer.publish(1, routing_key="q")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert rows(con) == 0


def test_publish_many_is_all_or_none(connect: Connect) -> None:
    channel: Any = connect().default_channel
    channel.queue_declare("q")
    messages = [channel.prepare_message(b"x") for _ in range(3)]
    channel.publish_many([(message, "", "q") for message in messages])
    assert channel.queue_declare("q").message_count == 3
    with pytest.raises(ChannelError, match="NOT_FOUND - no exchange 'none'"):
        channel.publish_many([(messages[0], "", "new"), (messages[1], "none", "q")])
    assert channel.queue_declare("q").message_count == 3
    with pytest.raises(ChannelError, match="no queue 'new'"):
        channel.queue_declare("new", passive=True)


def test_a_persistent_message_waits_for_its_queue_and_a_transient_one_does_not(connect: Connect) -> None:
    con = connect()
    con.Producer().publish(1, routing_key="task", delivery_mode=2)
    con.Producer().publish(2, routing_key="answer", delivery_mode=1)
    assert bodies(con, Queue("task")) == [1]
    assert rows(con) == 0
    with pytest.raises(ChannelError, match="no queue 'answer'"):
        con.default_channel.queue_declare("answer", passive=True)


def test_what_is_not_declared_is_an_error(connect: Connect) -> None:
    channel: Any = connect().default_channel
    with pytest.raises(ChannelError, match="no exchange 'ex'"):
        channel.exchange_declare("ex", passive=True)
    with pytest.raises(ChannelError, match="no exchange 'ex'"):
        channel.queue_bind("q", "ex", "k")
    with pytest.raises(ChannelError, match="no queue 'q'"):
        channel.basic_consume("q", False, print, "tag")
    with pytest.raises(ChannelError, match="unknown exchange type 'headers'"):
        channel.exchange_declare("ex", "headers")
    channel.exchange_declare("ex", "topic")
    with pytest.raises(ChannelError, match="is of type 'topic', not 'direct'"):
        channel.exchange_declare("ex", "direct")


def test_an_auto_delete_queue_goes_with_its_last_consumer(connect: Connect) -> None:
    con = connect()
    queue = Queue("q", Exchange("ex"), "k", auto_delete=True)
    with con.Consumer(queue), con.Consumer(queue, channel=con.channel()):
        assert con.default_channel.queue_declare("q").consumer_count == 2
    assert con.default_channel.list_bindings() == []
    with pytest.raises(ChannelError):
        con.default_channel.queue_declare("q", passive=True)


def test_an_exclusive_queue_belongs_to_its_connection(connect: Connect) -> None:
    con, other = connect(), connect()
    con.default_channel.queue_declare("mine", exclusive=True)
    con.default_channel.queue_declare("mine", exclusive=True)
    with pytest.raises(ChannelError, match="RESOURCE_LOCKED"):
        other.default_channel.queue_declare("mine", exclusive=True)
    con.release()
    with pytest.raises(ChannelError, match="NOT_FOUND"):
        other.default_channel.queue_declare("mine", passive=True)
    other.default_channel.queue_declare("mine", exclusive=True)


def test_a_consumer_survives_its_queue(connect: Connect) -> None:
    con, other = connect(), connect()
    got: list[Any] = []
    with con.Consumer(Queue("q"), callbacks=[lambda body, message: got.append(body)], no_ack=True):
        other.default_channel.queue_delete("q")
        other.Producer().publish("again", routing_key="q")
        con.drain_events(timeout=10)
    assert got == ["again"]


def test_a_deleted_queue_takes_what_is_given_back_to_it(connect: Connect) -> None:
    con = connect()
    for number in range(3):
        con.Producer().publish(number, routing_key="q")
    held = Queue("q")(con.default_channel).get()
    assert con.default_channel.queue_delete("q") == 2
    held.requeue()
    assert rows(con) == 0


def test_two_channels_share_a_queue_in_one_connection(connect: Connect) -> None:
    con = connect()
    seen: list[Any] = []
    for number in range(20):
        con.Producer().publish(number, routing_key="q")

    def taken_by(name: str) -> Any:
        def taken(message: Any) -> None:
            seen.append(name)
            message.ack()

        return taken

    first = con.channel().Consumer(Queue("q"), on_message=taken_by("a"), prefetch_count=2)
    second = con.channel().Consumer(Queue("q"), on_message=taken_by("b"), prefetch_count=2)
    with first, second:
        while len(seen) < 20:
            con.drain_events(timeout=5)
    assert {"a", "b"} == set(seen)
    assert rows(con) == 0


def test_several_queues_have_their_turn(connect: Connect) -> None:
    con = connect()
    got: list[Any] = []
    for number in range(100):
        con.Producer().publish(number, routing_key=f"q{number % 2}")

    def taken(message: Any) -> None:
        got.append(message.delivery_info["routing_key"])
        message.ack()

    with con.Consumer([Queue("q0"), Queue("q1")], on_message=taken, prefetch_count=4):
        for _ in range(16):
            con.drain_events(timeout=5)
    assert {"q0", "q1"} == set(got)


def test_a_row_that_cannot_be_read_is_dropped(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    con = connect()
    con.Producer().publish(1, routing_key="q")
    with con.transport.broker.store as db:
        db.execute("update message set meta = 'rubbish'")
    con.Producer().publish(2, routing_key="q")
    got: list[Any] = []
    with con.Consumer(Queue("q"), callbacks=[lambda body, message: got.append(body)], no_ack=True):
        con.drain_events(timeout=5)
    assert got == [2]
    assert "which cannot be read" in caplog.text


def test_a_closed_channel_refuses(connect: Connect) -> None:
    con = connect()
    channel: Any = con.channel()
    channel.close()
    channel.close()
    with pytest.raises(con.connection_errors, match="the channel is closed"):
        channel.basic_publish(channel.prepare_message(b"x"), "", "q")


@pytest.mark.parametrize("which", ["database", "lock"])
def test_a_removed_file_is_a_connection_error(connect: Connect, which: str) -> None:
    con = connect()
    with con.Consumer(Queue("q")):
        used = con.transport.broker
        (used.store.place.database if which == "database" else used.owner.lock_path).unlink()
        with pytest.raises(con.connection_errors, match="was removed or replaced"):
            con.drain_events(timeout=10)
