"""The consumer lives with its connection: what needs it restarts with it, the rest goes on."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from kombu.asynchronous.hub import Hub as KombuHub
from kombu.asynchronous.timer import Timer as KombuTimer

from bootsteps import HUB, TIMER, App, Blueprint, Catalogue, ConsumerStep, KernelError, Parent, Step, compose, hookimpl
from bootsteps.testing import FakeHub, FakeTimer, make_blueprint
from bootsteps_consumer import CONNECTION, CONSUMER
from bootsteps_consumer.connection import ConnectionStep
from bootsteps_consumer.consumer import Consumer, backoff_s
from bootsteps_consumer.loop import EventLoop
from bootsteps_consumer.step import ConsumerHost

URL = "memory://localhost//"
MASKED = kombu.Connection(URL).as_uri()


class BrokerApp(App):
    """An application whose broker lives in this process, and can be away."""

    away = False

    def connection(self) -> kombu.Connection:
        if self.away:
            raise ConnectionRefusedError("away")
        return kombu.Connection(URL)


class Fakes(Step):
    provides = (HUB, TIMER)

    def start(self, parent: Any) -> None:
        parent.lend(HUB, FakeHub())
        parent.lend(TIMER, FakeTimer())

    create = start


class Notes(Step):
    """Writes down what happens to it."""

    def __init__(self, parent: Any, **options: Any) -> None:
        self.calls: list[str] = []

    def start(self, parent: Any) -> None:
        self.calls.append("start")

    def stop(self, parent: Any) -> None:
        self.calls.append("stop")


class Alone(Notes):
    independent = True


class Breaks(Notes):
    """Raises in the loop when told to."""

    error: Exception | None = None

    def start(self, parent: Any) -> None:
        super().start(parent)
        hub = parent.get(HUB)
        hub.on_tick.add(self.tick)
        parent.on_stop(lambda: hub.on_tick.discard(self.tick))

    requires = (HUB,)

    def tick(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


@pytest.fixture
def worker() -> Iterator[Blueprint]:
    app = BrokerApp()
    app.steps["worker"].update([Fakes, ConsumerHost])
    app.steps["consumer"].update([ConnectionStep, EventLoop, Notes, Alone, Breaks])
    blueprint = Blueprint(compose(app, Catalogue(())), Parent(app, hostname="w@h"))
    blueprint.apply()
    yield blueprint
    blueprint.stop()


def consumer_of(blueprint: Blueprint) -> Consumer:
    return blueprint.parent.get(CONSUMER)


def turns(number: int) -> Callable[[], bool]:
    """Let the loop turn so often."""
    left = [number]

    def enough() -> bool:
        left[0] -= 1
        return left[0] < 0

    return enough


def test_the_blueprint_starts_with_the_connection_and_ends_with_the_loop(worker):
    worker.start()
    consumer = consumer_of(worker)
    assert consumer.blueprint.started == ["Alone", "Connection", "Breaks", "Notes", "event loop"]
    assert consumer.connection.connected
    facts = worker.info()["broker"]
    assert (facts["hostname"], facts["transport"], "password" in facts) == ("localhost", "memory", False)
    assert json.loads(json.dumps(facts)) == facts
    assert consumer.controller is worker.parent
    assert repr(consumer) == "<Consumer of w@h>"


def test_a_lost_connection_restarts_what_needs_it_and_nothing_else(worker, caplog):
    heard: list[str] = []

    class Listener:
        @hookimpl
        def connection_lost(self, error):
            heard.append(f"lost {error}")

        @hookimpl
        def connection_established(self, url):
            heard.append(f"established {url}")

    worker.parent.hooks.register(Listener(), "listener")
    worker.start()
    consumer = consumer_of(worker)
    first = consumer.connection
    consumer.blueprint["Breaks"].error = ConnectionResetError("cut")  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        worker.run(lambda: consumer.restart_count > 0 and "event loop" in consumer.blueprint.started)
    assert consumer.blueprint["Notes"].calls == ["start", "stop", "start"]  # type: ignore[attr-defined]
    assert consumer.blueprint["Alone"].calls == ["start"]  # type: ignore[attr-defined]
    assert consumer.connection is not first
    assert consumer.restart_count == 1
    assert heard == [f"established {MASKED}", "lost cut", f"established {MASKED}"]
    assert [record.getMessage() for record in caplog.records] == [f"connection to {MASKED} lost: cut"]


def test_a_broker_that_lets_in_and_throws_out_is_not_asked_without_a_pause(worker):
    worker.start()
    consumer, ends = consumer_of(worker), time.monotonic() + 0.7
    breaks: Any = consumer.blueprint["Breaks"]

    def over() -> bool:
        breaks.error = ConnectionResetError("again")
        return bool(time.monotonic() > ends)

    worker.run(over)
    assert 1 <= consumer.restart_count <= 3  # after 0.2 s, 0.4 s, ...


def test_after_a_long_connection_the_first_attempt_comes_at_once(worker, monkeypatch):
    monkeypatch.setattr("bootsteps_consumer.consumer.STEADY_S", -1.0)
    worker.start()
    consumer = consumer_of(worker)
    for _ in range(3):
        consumer.blueprint["Breaks"].error = ConnectionResetError("cut")  # type: ignore[attr-defined]
        worker.run(turns(4))
    assert consumer.restart_count == 3
    assert "event loop" in consumer.blueprint.started


def test_another_error_in_the_loop_is_not_taken_for_a_lost_connection(worker):
    worker.start()
    consumer_of(worker).blueprint["Breaks"].error = ValueError("bug")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="bug"):
        worker.run(turns(3))


class AwayApp(BrokerApp):
    def connection(self) -> Any:
        connection = super().connection()
        if self.gone:
            connection.__dict__["ensure_connection"] = self.refuse
        return connection

    gone = True

    def refuse(self, **how: Any) -> None:
        raise ConnectionRefusedError("nobody there")


def away(**settings: Any) -> Blueprint:
    app = AwayApp(**settings)
    app.steps["worker"].update([Fakes, ConsumerHost])
    app.steps["consumer"].update([ConnectionStep, EventLoop, Alone])
    blueprint = Blueprint(compose(app, Catalogue(())), Parent(app, hostname="w@h"))
    blueprint.apply()
    return blueprint


def test_a_broker_that_is_away_at_the_start_is_waited_for(caplog, monkeypatch):
    worker = away()
    worker.start()  # no error: the worker is up and tries again
    consumer, app = consumer_of(worker), worker.parent.app
    assert not consumer.connection
    assert f"cannot connect to {MASKED}: nobody there; trying again in 0.2 s" in caplog.text
    monkeypatch.setattr(app, "gone", False)
    worker.run(lambda: "event loop" in consumer.blueprint.started)
    assert consumer.connection.connected
    worker.stop()


@pytest.mark.parametrize(
    "settings",
    [{"broker_connection_retry": False}, {"broker_connection_max_retries": 0}],
    ids=["no retry", "no retries"],
)
def test_without_retries_the_boot_fails(settings):
    with pytest.raises(ConnectionRefusedError, match="nobody there"):
        away(**settings).start()


def test_the_wait_between_attempts_grows_to_five_seconds():
    assert [backoff_s(attempt) for attempt in (1, 2, 3, 4, 9, 99)] == [0.2, 0.4, 0.8, 1.6, 5.0, 5.0]


def test_a_closing_worker_does_not_connect_again(worker):
    worker.start()
    consumer = consumer_of(worker)
    worker.close()
    consumer.blueprint["Breaks"].error = ConnectionResetError("cut")  # type: ignore[attr-defined]
    worker.run(turns(4))
    assert consumer.blueprint["Notes"].calls == ["start", "stop"]  # type: ignore[attr-defined]


def test_messages_reach_a_consumer_step_over_a_transport_that_blocks(worker):
    seen: list[Any] = []

    class Mine(ConsumerStep):
        def get_consumers(self, channel):
            return [kombu.Consumer(channel, [kombu.Queue("mine")], callbacks=[lambda body, message: seen.append(body)])]

    app = BrokerApp()
    app.steps["worker"].update([Fakes, ConsumerHost])
    app.steps["consumer"].update([ConnectionStep, EventLoop, Mine])
    blueprint = Blueprint(compose(app, Catalogue(())), Parent(app))
    blueprint.apply()
    blueprint.start()
    with kombu.Connection(URL) as connection:
        connection.Producer().publish({"x": 1}, routing_key="mine", serializer="json")
        blueprint.run(lambda: bool(seen))
    blueprint.stop()
    assert seen == [{"x": 1}]


def test_an_application_without_a_broker_is_told_what_to_do():
    app = App("plain")
    app.steps["test"].update([ConnectionStep])
    blueprint = Blueprint(compose(app, Catalogue(()), "test"), Parent(app))
    blueprint.apply()
    with pytest.raises(KernelError, match="has no connection to a broker") as caught:
        blueprint.start()
    assert "-A" in str(caught.value)


class Registering:
    """A transport that registers a descriptor, a tick and a repeated call, and never takes them away."""

    class transport:
        class implements:
            asynchronous = True

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def register_with_event_loop(self, hub: Any) -> None:
        hub.add_reader(self.fd, print)
        hub.on_tick.add(print)
        hub.call_repeatedly(60.0, print)


class Registers(Step):
    """Registers like a step of Celery's."""

    requires = (HUB,)
    fd = -1

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:
        seen.append(repr(parent))
        hub.add_writer(type(self).fd, print)
        hub.on_tick.add(len)


seen: list[str] = []


@pytest.fixture
def pipes() -> Iterator[list[int]]:
    ends = [end for _ in range(2) for end in os.pipe()]
    yield ends
    for end in ends:
        os.close(end)


def test_the_loop_takes_away_what_was_registered_for_a_connection_and_nothing_else(pipes, monkeypatch):
    theirs, _, late, writable = pipes
    hub: Any = KombuHub(timer=KombuTimer())
    monkeypatch.setattr(Registers, "fd", writable)
    connection = Registering(theirs)
    blueprint = make_blueprint([EventLoop, Registers], {HUB: hub, CONNECTION: connection})
    blueprint.apply()
    for _ in range(2):
        seen.clear()
        blueprint.start()
        assert seen == [repr(blueprint.parent)]
        assert ({theirs}, {writable}, {print, len}) == (set(hub.readers), set(hub.writers), hub.on_tick)
        hub.add_reader(late, print)  # somebody else's, as a pool's for a new child
        blueprint.stop()
        assert ({late}, set(), set()) == (set(hub.readers), set(hub.writers), hub.on_tick)
        assert [entry for *_, entry in hub.timer.queue if not entry.cancelled] == []
        hub.remove(late)
    hub.close()


def test_a_descriptor_whose_number_is_somebody_elses_by_now_stays(pipes):
    hub: Any = KombuHub(timer=KombuTimer())
    blueprint = make_blueprint([EventLoop], {HUB: hub, CONNECTION: Registering(pipes[0])})
    blueprint.apply()
    blueprint.start()
    hub.remove(pipes[0])
    hub.add_reader(pipes[0], repr)
    blueprint.stop()
    assert [callback for callback, _ in hub.readers.values()] == [repr]
    hub.close()


def test_steps_of_both_blueprints_register_with_the_loop_at_each_connection(monkeypatch):
    class Ticks(Step):
        def register_with_event_loop(self, parent: Any, hub: Any) -> None:
            seen.append(repr(parent))

    class Other(Ticks):
        pass

    app = BrokerApp()
    app.steps["worker"].update([Fakes, ConsumerHost, Ticks])
    app.steps["consumer"].update([ConnectionStep, EventLoop, Breaks, Ticks, Other])
    blueprint = Blueprint(compose(app, Catalogue(())), Parent(app, hostname="w@h"))
    blueprint.apply()
    seen.clear()
    blueprint.start()
    once = ["<Consumer of w@h>", "<Consumer of w@h>", repr(blueprint.parent)]
    assert seen == once
    consumer_of(blueprint).blueprint["Breaks"].error = ConnectionResetError("cut")  # type: ignore[attr-defined]
    blueprint.run(lambda: len(seen) > len(once))
    assert seen == once * 2
    blueprint.stop()
