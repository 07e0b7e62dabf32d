"""The event loop of the guide: add_reader, add_writer, remove, call_soon from every thread, ticks."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.asynchronous import get_event_loop
from kombu.asynchronous.timer import Timer

from bootsteps import HUB, TIMER
from bootsteps.testing import check_step, lifetime
from bootsteps_worker_hub.step import Hub


@pytest.fixture
def hub() -> Iterator[Any]:
    with lifetime(Hub, {TIMER: Timer()}) as worker:
        yield worker.get(HUB)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def turn(hub: Any, until: Callable[[], object], limit_s: float = 10.0) -> None:
    ends = time.monotonic() + limit_s
    while not until():
        assert time.monotonic() < ends, "the loop did not get there in time"
        hub.run_once()


def test_calls_back_when_readable_until_removed(hub, pipe):
    reader, writer = pipe
    seen: list[bytes] = []
    hub.add_reader(reader, lambda tag: seen.append(tag + os.read(reader, 10)), b"got ")
    os.write(writer, b"one")
    turn(hub, lambda: seen)
    assert seen == [b"got one"]
    hub.remove(reader)
    os.write(writer, b"two")
    hub.call_soon(lambda: None)
    hub.run_once()
    assert seen == [b"got one"]


def test_adding_again_replaces(hub, pipe):
    reader, writer = pipe
    seen: list[str] = []
    hub.add_reader(reader, seen.append, "first")
    hub.add_reader(reader, lambda: seen.append("second " + os.read(reader, 10).decode()))
    os.write(writer, b"x")
    turn(hub, lambda: seen)
    assert seen == ["second x"]


def test_calls_back_when_writable(hub, pipe):
    seen: list[str] = []

    def write() -> None:
        seen.append("writable")
        hub.remove(pipe[1])

    hub.add_writer(pipe[1], write)
    turn(hub, lambda: seen)
    assert seen == ["writable"]


def test_add_takes_flags(hub, pipe):
    seen: list[str] = []
    hub.add(pipe[0], lambda: seen.append(os.read(pipe[0], 9).decode()), hub.READ)
    os.write(pipe[1], b"flagged")
    turn(hub, lambda: seen)
    assert seen == ["flagged"]


def test_another_thread_wakes_a_sleeping_loop(hub):
    seen: list[float] = []
    hub.call_soon(lambda: None)
    hub.run_once()  # the loop knows its thread now
    thread = threading.Timer(0.1, lambda: hub.call_soon(lambda: seen.append(time.monotonic())))
    began = time.monotonic()
    thread.start()
    turn(hub, lambda: seen)
    thread.join()
    assert seen[0] - began < 0.6  # kombu's loop alone sleeps for a second


def test_a_call_made_in_a_tick_or_a_timer_does_not_wait_for_the_next_event(hub):
    for arrange in (hub.on_tick.add, lambda call: hub.timer.call_after(0, call)):
        seen: list[float] = []

        def once(seen: list[float] = seen) -> None:
            hub.on_tick.discard(once)
            hub.call_soon(lambda: seen.append(time.monotonic()))

        began = time.monotonic()
        arrange(once)
        turn(hub, seen.__len__)
        assert seen[0] - began < 0.6


def test_a_timer_that_a_tick_sets_is_on_time(hub, pipe):
    hub.add_reader(pipe[0], lambda: None)  # something to wait for
    due: list[float] = []
    began = time.monotonic()

    def tick():
        hub.on_tick.discard(tick)
        hub.timer.call_after(0.05, lambda: due.append(time.monotonic() - began))

    hub.on_tick.add(tick)
    turn(hub, lambda: due)
    assert 0.05 <= due[0] < 0.5


def test_many_threads_lose_no_call(hub):
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: [hub.call_soon(seen.append, n) for _ in range(200)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    turn(hub, lambda: len(seen) == 800)
    for thread in threads:
        thread.join()


def test_the_timer_ticks_in_the_loop(hub):
    seen: list[str] = []
    hub.timer.call_after(0.02, seen.append, ("due",))
    turn(hub, lambda: seen)


def test_it_is_kombus_event_loop_while_it_is_started():
    with lifetime(Hub, {TIMER: Timer()}) as worker:
        assert get_event_loop() is worker.hub
    assert get_event_loop() is None


def test_it_leaves_no_descriptor():
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with lifetime(Hub, {TIMER: Timer()}):
        pass
    before = descriptors()
    for _ in range(3):
        with lifetime(Hub, {TIMER: Timer()}) as worker:
            worker.hub.call_soon(lambda: None)
            worker.hub.run_once()
    assert descriptors() == before


def test_keeps_the_contract():
    check_step(Hub, {TIMER: Timer()})


def test_one_direction_can_be_removed_and_the_other_stays(hub):
    left, right = socket.socketpair()
    for remove, stays in ((hub.remove_reader, "write"), (hub.remove_writer, "read")):
        seen: list[str] = []
        hub.add_reader(left.fileno(), seen.append, "read")
        hub.add_writer(left.fileno(), seen.append, "write")
        right.send(b"x")
        remove(left.fileno())
        turn(hub, seen.__len__)
        assert set(seen) == {stays}
        hub.remove(left.fileno())
    left.close()
    right.close()


def test_a_descriptor_may_be_an_object_with_a_fileno(hub):
    left, right = socket.socketpair()
    seen: list[bytes] = []
    hub.add_reader(left, lambda: seen.append(left.recv(9)))
    right.send(b"object")
    turn(hub, lambda: seen)
    hub.remove(left)
    assert (seen, set(hub.readers) & {left.fileno()}) == ([b"object"], set())
    left.close()
    right.close()


def test_a_descriptor_that_was_closed_is_dropped_and_the_loop_goes_on(hub, pipe):
    reader, writer = os.pipe()
    hub.add_reader(reader, lambda: None)
    os.close(writer)
    os.close(reader)
    seen: list[bytes] = []
    hub.add_reader(pipe[0], lambda: seen.append(os.read(pipe[0], 9)))
    os.write(pipe[1], b"alive")
    turn(hub, lambda: seen)
    assert seen == [b"alive"]


def test_the_hub_schedules_calls_on_its_timer(hub):
    seen: list[str] = []
    hub.call_later(0.01, seen.append, "later")
    hub.call_at(time.monotonic() + 0.02, seen.append, "at")
    entry = hub.call_repeatedly(0.03, seen.append, "again")
    turn(hub, lambda: seen.count("again") == 2)
    entry.cancel()
    assert seen == ["later", "at", "again", "again"]


def test_it_runs_until_stopped_and_tells_when_it_closes(hub):
    seen: list[Any] = []
    hub.on_close.add(seen.append)
    hub.call_soon(seen.append, "soon")
    hub.call_later(0.01, hub.stop)
    hub.run_forever()
    assert seen == ["soon"]
    hub.reset()
    assert seen == ["soon", hub]
    assert (hub.readers, hub.writers) == ({}, {})
