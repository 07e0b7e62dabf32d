# mypy: disable-error-code="no-untyped-call"
"""Who lives keeps what he holds; of who is dead, it comes back soon, once, and counted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from kombu import Connection, Consumer, Producer, Queue
from kombu.transport.redis import Channel as KombuChannel

from bootsteps_transport_redis.lease import LeaseLost

Connect = Callable[..., Connection]
Drain = Callable[..., None]
Turn = Callable[..., None]


def publish(connection: Any, *bodies: Any) -> None:
    producer = Producer(connection.channel())
    for body in bodies:
        producer.publish(body, exchange="", routing_key="letters")


def consume(connection: Any, prefetch: int = 0) -> tuple[Any, list[Any]]:
    got: list[Any] = []
    consumer = Consumer(connection.channel(), [Queue("letters")], on_message=got.append)
    if prefetch:
        consumer.qos(prefetch_count=prefetch)
    consumer.consume()
    return consumer, got


def drain_a_peer(connection: Any, consumer: Any, got: list[Any], n: int) -> None:
    """Drain kombu's transport, which brings back what is old only when it is asked to."""
    ends = monotonic() + 20
    while len(got) < n:
        assert monotonic() < ends, "the peer got nothing"
        consumer.channel.qos.restore_visible()
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.1)


@pytest.fixture
def holding(url: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a process that takes `n` messages and keeps them, on a loop of its own."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(n: int, **options: Any) -> subprocess.Popen[bytes]:
        words = [
            sys.executable,
            str(Path(__file__).with_name("holder.py")),
            url,
            json.dumps(options),
            "letters",
            str(n),
        ]
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"has them\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_what_the_dead_held_comes_back_in_order_and_counted(
    connect: Connect, holding: Any, server: Any, hub: Any, turn: Turn, fault: signal.Signals
) -> None:
    con = connect(lease=1)
    publish(con, *range(50))
    holder = holding(20, lease=1)
    holder.send_signal(fault)
    con.register_with_event_loop(hub)
    _, got = consume(con)
    turn(lambda: len(got) == 50)
    assert sorted(message.payload for message in got) == list(range(50))
    back = [message for message in got if message.delivery_info["delivery_count"]]
    assert [message.payload for message in back] == list(range(20))
    assert all(message.headers["redelivered"] for message in back)
    assert server.hlen("unacked") == 50
    assert len(server.keys("_bootsteps.held.*")) == 1


def test_who_goes_on_after_a_delivery_does_so_before_anybody_else_has_a_turn(
    connect: Connect, hub: Any, turn: Turn, server: Any
) -> None:
    con, seen = connect(), list[Any]()
    publish(con, *range(3))
    con.register_with_event_loop(hub)
    _, got = consume(con)

    def go_on() -> None:
        seen.append(len(got))
        for message in got[-3:]:
            message.ack()

    con.transport.after_delivery.append(go_on)
    hub.on_tick.add(lambda: seen.append(f"tick with {len(got)}"))
    turn(lambda: "tick with 3" in seen)
    assert seen[seen.index("tick with 3") - 1] == 3, "before anybody else had a turn"
    assert [what for what in seen if type(what) is int] == [3], "once for all three"
    turn(lambda: server.hlen("unacked") == 0)


def test_who_slept_for_too_long_is_told_and_cannot_settle_for_others(
    connect: Connect, server: Any, hub: Any, turn: Turn, drain: Drain
) -> None:
    con, other = connect(lease=1), connect(lease=1)
    publish(con, "a")
    con.register_with_event_loop(hub)
    _, got = consume(con)
    turn(lambda: got)
    _, theirs = consume(other)  # while our loop does not turn
    drain(other, theirs, 1)
    assert theirs[0].delivery_info["delivery_count"] == 1
    got[0].ack()
    with pytest.raises(LeaseLost):
        turn(lambda: False)
    assert issubclass(LeaseLost, con.connection_errors)
    assert server.hlen("unacked") == 1


def test_a_lease_is_renewed_also_in_the_eyes_of_kombu(
    connect: Connect, peer: Connect, server: Any, hub: Any, turn: Turn
) -> None:
    """Three visibility timeouts long nobody takes what we hold, though kombu looks for it all the time."""
    con, other = connect(lease=1, visibility_timeout=1), peer(visibility_timeout=1, unacked_restore_throttle=1)
    publish(con, "a")
    con.register_with_event_loop(hub)
    _, got = consume(con)
    turn(lambda: got)
    channel = other.channel()
    for _ in range(15):
        turn(0.2)
        channel.qos.restore_visible()
    assert server.llen("letters") == 0
    assert server.hlen("unacked") == 1
    assert len(got) == 1


def test_kombu_brings_back_what_we_left(connect: Connect, peer: Connect, holding: Any, server: Any) -> None:
    publish(connect(), "a", "b")
    holder = holding(2, visibility_timeout=1)
    holder.kill()
    other = peer(visibility_timeout=1, unacked_restore_throttle=1)
    consumer, theirs = consume(other)
    drain_a_peer(other, consumer, theirs, 2)
    assert sorted(message.payload for message in theirs) == ["a", "b"]
    for message in theirs:
        message.ack()
    assert server.hlen("unacked") == 0
    ours = connect(visibility_timeout=1)  # what is left of the holder goes when its lease is over
    consume(ours)
    server.zadd("_bootsteps.leases", dict.fromkeys(server.zrange("_bootsteps.leases", 0, -1), 1))
    ours.transport.next_beat = 0
    with pytest.raises(TimeoutError):
        ours.drain_events(timeout=0.1)
    assert not server.keys("_bootsteps.held.*")
    assert not server.exists("letters")


def test_we_bring_back_what_kombu_left(connect: Connect, peer: Connect, server: Any, drain: Drain) -> None:
    other = peer()
    publish(other, "a")
    _, theirs = consume(other)
    drain(other, theirs, 1)
    assert isinstance(theirs[0].channel, KombuChannel)
    tag = server.hkeys("unacked")[0]
    con = connect()
    _, got = consume(con)
    with pytest.raises(TimeoutError):
        con.drain_events(timeout=0.1)
    server.zadd("unacked_index", {tag: time() - 3601})
    server.delete("_bootsteps.sweep")
    con.transport.next_beat = 0
    drain(con, got, 1)
    assert got[0].payload == "a"
    assert got[0].headers["redelivered"]
    assert server.hlen("unacked") == 1


def test_a_sweep_brings_back_each_message_once(connect: Connect, holding: Any, server: Any) -> None:
    """Two sweepers at one time, and thousands of messages."""
    first, second = connect(), connect()
    publish(first, *range(3000))
    holder = holding(3000)
    holder.kill()
    server.zadd("_bootsteps.leases", dict.fromkeys(server.zrange("_bootsteps.leases", 0, -1), 1))
    server.delete("_bootsteps.sweep")  # the turn was the holder's
    one, two = first.channel(), second.channel()
    found = second.transport._sweeper._find(two, 0)
    assert first.transport._sweeper.sweep(one, 5) == 3000
    assert sum(second.transport._sweeper._put_back(two, part[0].decode(), part[1:]) for part in found) == 0
    assert second.transport._sweeper.sweep(two, 5) == 0  # it is not its turn
    assert server.llen("letters") == 3000
    assert not server.exists("unacked", "unacked_index", "_bootsteps.leases")


def test_an_unhealthy_worker_loses_its_lease(connect: Connect, hub: Any, turn: Turn) -> None:
    con, healthy = connect(lease=1), [True]
    con.connect()
    con.transport.keep_lease(lambda: healthy[0])
    publish(con, "a")
    con.register_with_event_loop(hub)
    _, got = consume(con)
    turn(1.5)
    assert len(got) == 1
    healthy[0] = False
    with pytest.raises(LeaseLost):
        turn(lambda: len(got) > 1)


def test_a_deferred_message_comes_back_at_its_time_as_it_was(
    connect: Connect, server: Any, hub: Any, turn: Turn
) -> None:
    con = connect(lease=1)
    publish(con, "later", "now")
    con.register_with_event_loop(hub)
    consumer, got = consume(con, prefetch=2)
    turn(lambda: len(got) == 2)
    due = time() + 1.5
    consumer.channel.defer(got[0].delivery_tag, due)
    turn(lambda: server.zcount("unacked_index", 0, time() - 1800) == 1)
    assert not server.exists("letters")
    publish(con, "next")  # the window has room again
    turn(lambda: len(got) == 3)
    got[1].ack()
    turn(lambda: len(got) == 4)
    assert due <= time() < due + 3
    assert got[3].payload == "later"
    assert not got[3].headers.get("redelivered")
    assert got[3].delivery_info["delivery_count"] == 0


def test_kombu_alone_brings_deferred_messages_back_too(connect: Connect, peer: Connect, drain: Drain) -> None:
    con = connect(visibility_timeout=5)
    publish(con, "later")
    consumer, got = consume(con)
    drain(con, got, 1)
    due = time() + 1.5
    consumer.channel.defer(got[0].delivery_tag, due)
    con.release()
    other = peer(visibility_timeout=5, unacked_restore_throttle=1)
    consumer, theirs = consume(other)
    drain_a_peer(other, consumer, theirs, 1)
    assert due <= time()
    assert theirs[0].payload == "later"
