"""Side connections, and what keeps their troubles from the tasks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bootsteps.testing import FakeTimer
from bootsteps_consumer import SideConnection
from bootsteps_consumer.lane import Lane


class Hub:
    """kombu's hub, as far as it is asked."""

    READ, WRITE, ERR = 1, 4, 24

    def __init__(self) -> None:
        self.on_tick: set[Callable[[], Any]] = set()
        self.readers: dict[int, Any] = {}
        self.writers: dict[int, Any] = {}
        self.soon: list[Callable[[], Any]] = []

    def add(self, fd: int, callback: Any, flags: int, args: Any = (), consolidate: bool = False) -> None:
        self.readers[fd] = callback, args

    def remove(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def call_soon(self, callback: Any, *args: Any) -> None:
        self.soon.append(lambda: callback(*args))

    def call_repeatedly(self, delay: float, callback: Any, *args: Any) -> Any:
        return FakeTimer().call_repeatedly(delay, callback, args)


def fails(*args: Any) -> None:
    raise ConnectionResetError("cut")


def test_what_fails_in_a_lane_is_told_and_not_raised() -> None:
    hub = Hub()
    failures: list[Exception] = []
    lane = Lane(hub, failures.append)
    lane.add_reader(7, fails, "x")
    lane.on_tick.add(fails)
    lane.call_soon(fails)
    callback, args = hub.readers[7]
    callback(*args)
    for tick in [*hub.on_tick, *hub.soon]:
        tick()
    assert [str(exc) for exc in failures] == ["cut"] * 3


def test_a_lane_takes_everything_away_and_calls_nothing_any_more() -> None:
    hub = Hub()
    failures: list[Exception] = []
    hub.on_tick.add(print)
    lane = Lane(hub, failures.append)
    lane.add_reader(7, fails)
    lane.on_tick.add(fails)
    lane.on_tick.add(fails)
    lane.call_soon(fails)
    assert len(hub.on_tick) == 2
    lane.undo()
    assert (hub.readers, hub.on_tick) == ({}, {print})
    hub.soon[0]()
    assert failures == []
    with pytest.raises(KeyError):
        lane.on_tick.remove(fails)


def side(
    timer: FakeTimer, connect: Callable[[], Any], begin: Callable[[Any], object] = lambda _: None
) -> tuple[SideConnection, Hub]:
    hub = Hub()
    return SideConnection(hub, timer, logging.getLogger("test"), "tests", connect, begin), hub  # type: ignore[arg-type]


def turn(hub: Hub, timer: FakeTimer, seconds: float) -> None:
    """Let time pass in small steps; after each, what threads found out is told."""
    for _ in range(round(seconds / 0.1)):
        timer.advance(0.1)
        for thread in [thread for thread in threading.enumerate() if thread.name == "broker-reach"]:
            thread.join(5)
        calls, hub.soon[:] = list(hub.soon), []
        for call in calls:
            call()


def test_a_broker_that_is_away_is_tried_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    timer, tries, threads = FakeTimer(), list[float](), set[threading.Thread]()

    def connect() -> Any:
        tries.append(timer.now)
        threads.add(threading.current_thread())
        raise ConnectionRefusedError("nobody")

    found, hub = side(timer, connect)
    found.open()
    turn(hub, timer, 15.0)
    assert tries == pytest.approx([0, 0.2, 0.6, 1.4, 3.0, 6.2, 11.2], abs=0.65)  # each is told at the next turn
    assert len(threads) == len(tries)  # the loop asked once, at the start, and never waited again
    assert [record.levelname for record in caplog.records if "broke" in record.message] == ["WARNING"]
    found.close()
    assert timer.pending == 0


class Connection:
    """A connection that cannot wake the loop."""

    class transport:
        class implements:
            asynchronous = False

    def __init__(self) -> None:
        self.closed = self.connected = False
        self.heartbeat = 0.0
        self.error: Exception | None = None

    def ensure_connection(self, **how: Any) -> None:
        self.connected = True

    def release(self) -> None:
        self.closed = True

    def drain_events(self, timeout: float) -> None:
        raise self.error or TimeoutError

    def collect(self) -> None:
        self.closed = True


def test_a_connection_that_breaks_is_dropped_and_the_next_one_begins_anew() -> None:
    timer, made, begun = FakeTimer(), list[Connection](), list[Any]()

    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    found, hub = side(timer, connect, begun.append)
    found.open()
    found.fail(OSError("cut"))
    found.fail(OSError("cut again"))
    assert (made[0].closed, timer.pending) == (True, 1)
    turn(hub, timer, 0.3)
    assert begun == [made[0], made[2]]
    assert made[1].closed  # it was made to see whether the broker is there
    found.close()
    assert made[2].closed
    found.fail(OSError("late news"))
    assert timer.pending == 0


def test_what_begins_badly_is_a_break_too() -> None:
    timer, made = FakeTimer(), list[Connection]()

    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    def begin(connection: Connection) -> None:
        if len(made) < 5:
            raise OSError("refused")

    found, hub = side(timer, connect, begin)
    found.open()
    turn(hub, timer, 1.0)
    assert [connection.closed for connection in made] == [True, True, True, True, False]
