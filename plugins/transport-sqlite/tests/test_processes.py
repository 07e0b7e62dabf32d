# mypy: disable-error-code="no-untyped-call"
"""Several processes on one file, and what is left when one of them dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from bootsteps_transport_sqlite import connection, store

Connect = Callable[..., Connection]
Spawn = Callable[..., Any]


def publish(con: Connection, count: int, queue: str = "q", first: int = 0) -> None:
    producer = con.Producer()
    for number in range(first, first + count):
        producer.publish(number, routing_key=queue)


def wait_for(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline, pause = monotonic() + timeout, threading.Event()
    while not condition():
        assert monotonic() < deadline, "it did not come true"
        pause.wait(0.01)


@pytest.mark.parametrize("verb", ["work", "hub_work"])
def test_what_a_killed_consumer_held_is_redelivered_to_an_idle_one(connect: Connect, spawn: Spawn, verb: str) -> None:
    con = connect()
    publish(con, 10)
    holder = spawn("hold", "q", 10)
    assert holder.read() == "ready"
    assert [holder.read() for _ in range(10)] == [[n, False, 0] for n in range(10)]
    worker = spawn(verb, "q", 64)
    assert worker.read() == "ready"
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait(10)
    assert [worker.read() for _ in range(10)] == [[n, True, 1] for n in range(10)]
    wait_for(lambda: con.transport.broker.store.rows("select count(*) from message") == [(0,)])
    place = con.transport.broker.store.place
    wait_for(lambda: len({file.stem for folder in (place.locks, place.sockets) for file in folder.iterdir()}) == 1)


def test_a_consumer_that_starts_later_gets_it_at_once(connect: Connect, spawn: Spawn) -> None:
    publish(connect(), 3)
    holder = spawn("hold", "q", 10)
    assert [holder.read() for _ in range(4)] == ["ready", [0, False, 0], [1, False, 0], [2, False, 0]]
    holder.end()
    got: list[Any] = []
    con = connect()
    with con.Consumer(Queue("q"), callbacks=[lambda body, message: got.append(body)]):
        con.drain_events(timeout=0)
        con.drain_events(timeout=0)
        con.drain_events(timeout=0)
    assert got == [0, 1, 2]


def test_a_stopped_process_is_not_a_dead_one(connect: Connect, spawn: Spawn) -> None:
    con = connect(transport_options={"busy_timeout": 0.2})
    publish(con, 1)
    holder = spawn("hold", "q", 10)
    assert holder.read() == "ready"
    holder.read()
    stop_between_transactions(holder, con)
    con.transport.broker.reap()
    with con.Consumer(Queue("q")), pytest.raises(TimeoutError):
        con.drain_events(timeout=0.05)


def stop_between_transactions(peer: Any, con: Connection) -> None:
    """A process that is stopped inside a transaction stops all the others too."""
    while True:
        peer.process.send_signal(signal.SIGSTOP)
        try:
            publish(con, 1, queue="other")
            return
        except store.BrokerBusy:
            peer.process.send_signal(signal.SIGCONT)


def test_two_consumers_share_a_queue_and_each_message_comes_once(connect: Connect, spawn: Spawn) -> None:
    workers = [spawn("work", "q", 8), spawn("hub_work", "q", 8)]
    assert [worker.read() for worker in workers] == ["ready", "ready"]
    publishers = [spawn("publish", "q", 1000 * i, 400) for i in range(2)]
    assert [p.read() for p in publishers] == ["published", "published"]
    con = connect()
    con.connect()
    wait_for(lambda: con.transport.broker.store.rows("select count(*) from message") == [(0,)])
    for worker in workers:
        worker.process.kill()
    shares = [[number for number, _, _ in worker.read_rest()] for worker in workers]
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == [*range(400), *range(1000, 1400)]


def test_a_fanout_reaches_every_process(connect: Connect, spawn: Spawn) -> None:
    listeners = [spawn("listen", "news", f"l{i}") for i in range(3)]
    assert [listener.read() for listener in listeners] == ["ready"] * 3
    con = connect()
    for number in range(5):
        con.Producer().publish(number, exchange=Exchange("news", "fanout"), declare=[Exchange("news", "fanout")])
    for listener in listeners:
        assert [listener.read() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_queues_of_dead_consumers_go(connect: Connect, spawn: Spawn) -> None:
    listener = spawn("listen", "news", "private")
    assert listener.read() == "ready"
    con = connect()
    assert con.default_channel.queue_declare("private", passive=True).consumer_count == 1
    listener.end()
    con.default_channel.queue_declare("private", exclusive=True, auto_delete=True)  # a restarted worker's mailbox
    assert con.default_channel.queue_declare("private", passive=True).consumer_count == 0
    assert ("private", "news", "") not in con.default_channel.list_bindings()


def test_a_forked_child_publishes_and_leaves_the_parent_alone(connect: Connect, spawn: Spawn) -> None:
    con, rival = connect(), connect()
    publish(con, 3)
    held: list[Any] = []
    with con.Consumer(Queue("q"), on_message=held.append, prefetch_count=2):
        con.drain_events(timeout=5)
        con.drain_events(timeout=5)
        for first in (100, 200):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    publish(con, 50, first=first)
                    con.release()
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        # Another process asks whether we are dead, now that a child of ours had our lock file and closed it.
        watcher = spawn("hold", "q", 1000)
        assert watcher.read() == "ready"
        assert [watcher.read()[0] for _ in range(101)] == [2, *range(100, 150), *range(200, 250)]
        assert [message.decode() for message in held] == [0, 1]
        for message in held:
            message.ack()
        watcher.end()
    rival.connect()
    rival.transport.broker.reap()
    assert rival.default_channel.queue_declare("q").message_count == 101


def test_what_a_child_publishes_outlives_its_parents_connection(broker_url: str, connect: Connect) -> None:
    # SQLite would remove the log under a child that believes in locks which it did not inherit.
    con = connect()
    publish(con, 1)
    go, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            publish(con, 1, first=1)
            os.write(done[1], b"1")
            os.read(go[0], 1)
            publish(con, 1, first=2)
            status = 0
        finally:
            os._exit(status)
    assert os.read(done[0], 1) == b"1"
    con.release()
    os.write(go[1], b"1")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for fd in (*go, *done):
        os.close(fd)
    with connection(broker_url) as other:
        assert other.default_channel.queue_declare("q", passive=True).message_count == 3


def test_a_child_consumes_with_a_channel_of_its_own(connect: Connect) -> None:
    con = connect()
    publish(con, 2)
    Queue("q")(con.default_channel).get()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            message = Queue("q")(con.channel()).get()
            assert message.decode() == 1
            message.ack()
            con.release()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert con.transport.broker.store.rows("select count(*), max(owner is null) from message") == [(1, 0)]


def test_many_writers_wait_for_each_other(connect: Connect, spawn: Spawn) -> None:
    writers = [spawn("publish", "q", 1000 * i, 300) for i in range(6)]
    assert [writer.read() for writer in writers] == ["published"] * 6
    assert connect().default_channel.queue_declare("q").message_count == 1800


def test_a_file_that_stays_locked_is_a_connection_error_after_the_deadline(broker_url: str, connect: Connect) -> None:
    con = connect(transport_options={"busy_timeout": 0.05})
    con.connect()
    thief = sqlite3.connect(con.transport.broker.store.place.database, isolation_level=None)
    thief.execute("begin immediate")
    with pytest.raises(con.connection_errors, match=r"locked by another process for 0\.05 s(.|\n)*try: find"):
        publish(con, 1)
    thief.execute("rollback")
    thief.close()
    publish(con, 1)


def test_an_idle_consumer_takes_no_cpu(spawn: Spawn) -> None:
    blocking, looping = spawn("idle", "q", 2.0).read()
    assert blocking < 0.06
    assert looping < 0.06


def test_a_connection_that_is_dropped_unclosed_gives_back(broker_url: str, connect: Connect) -> None:
    con = connect()
    publish(con, 1)
    dropped = connection(broker_url)
    Queue("q")(dropped.default_channel).get()
    store_of = dropped.transport.broker.store
    del dropped
    import gc

    gc.collect()
    assert store_of._con is None
    assert Queue("q")(con.default_channel).get().delivery_info["delivery_count"] == 1


def test_a_producer_needs_no_owner(connect: Connect, tmp_path: Path) -> None:
    publish(connect(), 1)
    assert list((tmp_path / "broker.db.owners").iterdir()) == []


def test_files_without_a_process_are_swept(connect: Connect, tmp_path: Path) -> None:
    folder = tmp_path / "broker.db.owners"
    folder.mkdir(mode=0o700)
    for name in ("0" * 32 + ".lock", "1" * 32 + ".sock"):
        (folder / name).touch()
    con = connect()
    with con.Consumer(Queue("q")):
        assert not (folder / ("0" * 32 + ".lock")).exists()


def test_nothing_is_lost_when_consumers_are_killed_all_the_time(connect: Connect, spawn: Spawn) -> None:
    con = connect()
    con.connect()
    seen: list[int] = []

    def waiting() -> int:
        count: int = con.transport.broker.store.rows("select count(*) from message")[0][0]
        return count

    for leave in (400, 300, 500, 200, 0):
        workers = [spawn("work", "q", 16), spawn("hub_work", "q", 16)]
        assert [worker.read() for worker in workers] == ["ready", "ready"]
        publish(con, 500, first=1000 * leave)
        wait_for(lambda leave=leave: waiting() <= leave)  # type: ignore[misc]
        for worker in workers:
            worker.process.send_signal(signal.SIGKILL)
        seen += [number for worker in workers for number, _, _ in worker.read_rest()]
    assert waiting() == 0
    assert len(set(seen)) == 2500
