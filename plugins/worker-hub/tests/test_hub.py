"""The event loop of the guide: add_reader, add_writer, remove, call_soon from every thread, ticks."""

from __future__ import annotations

import os
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
