from __future__ import annotations

from typing import Any

import pytest

from bootsteps import REQUESTS, TIMER, App, BootError, hookimpl
from bootsteps.commands import command_of
from bootsteps.testing import FakeRequests, FakeTimer, check_step, lifetime, make_blueprint
from bootsteps_consumer_events import EVENT_DISPATCHER
from bootsteps_consumer_heart import HEART
from bootsteps_consumer_heart.commands import heartbeat
from bootsteps_consumer_heart.heart import load_average
from bootsteps_consumer_heart.step import HeartStep


class Recorder:
    """Remembers what is sent, and switches as a dispatcher does."""

    def __init__(self) -> None:
        self.enabled = True
        self.on_enabled: set[Any] = set()
        self.on_disabled: set[Any] = set()
        self.sent: list[dict[str, Any]] = []

    def send(self, type: str, **fields: Any) -> None:
        if self.enabled:
            self.sent.append({"type": type, **fields})

    def wake(self) -> None:
        self.woken = True

    def types(self) -> list[str]:
        found = [event["type"].removeprefix("worker-") for event in self.sent]
        self.sent.clear()
        return found


def services(dispatcher: Recorder, timer: FakeTimer) -> Any:
    return {EVENT_DISPATCHER: dispatcher, TIMER: timer, REQUESTS: FakeRequests(running=[("add", 1.0)])}


def test_it_beats_from_start_to_stop():
    dispatcher, timer = Recorder(), FakeTimer()
    with lifetime(HeartStep, services(dispatcher, timer)):
        timer.advance(4.5)
        last = dispatcher.sent[-1]
        assert dispatcher.types() == ["online", "heartbeat", "heartbeat"]
    assert dispatcher.types() == ["offline"]
    assert timer.pending == 0
    assert last.keys() == {"type", "freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"}
    assert (last["freq"], last["active"], last["processed"]) == (2.0, 1, 1)
    assert not dispatcher.on_enabled
    assert not dispatcher.on_disabled


def test_it_beats_as_often_as_is_set_and_says_so():
    dispatcher, timer = Recorder(), FakeTimer()
    with lifetime(HeartStep, services(dispatcher, timer), worker_heartbeat_interval=0.5):
        timer.advance(1.2)
        assert {event["freq"] for event in dispatcher.sent} == {0.5}
        assert len(dispatcher.types()) == 3


@pytest.mark.parametrize("value", [0, -1, "often", True])
def test_an_interval_is_a_number_of_seconds(value):
    with (
        pytest.raises(BootError, match="worker_heartbeat_interval"),
        lifetime(HeartStep, services(Recorder(), FakeTimer()), worker_heartbeat_interval=value),
    ):
        pass


def test_it_follows_the_dispatcher():
    dispatcher, timer = Recorder(), FakeTimer()
    with lifetime(HeartStep, services(dispatcher, timer)):
        [off], [on] = dispatcher.on_disabled, dispatcher.on_enabled
        off()
        dispatcher.enabled = False
        timer.advance(10)
        dispatcher.enabled = True
        on()
        assert dispatcher.types() == ["online", "offline", "online"]
        assert timer.pending == 1


def test_a_lost_connection_says_nothing_and_a_new_one_says_that_the_worker_is_there():
    dispatcher, timer = Recorder(), FakeTimer()
    with lifetime(HeartStep, services(dispatcher, timer)) as consumer:
        consumer.blueprint.restart("Heart")
        assert dispatcher.types() == ["online", "online"]
        assert timer.pending == 1


def test_the_command_sends_a_beat_that_promises_another_within_five_seconds():
    dispatcher, timer = Recorder(), FakeTimer()
    with lifetime(HeartStep, services(dispatcher, timer)) as consumer:
        command = command_of(heartbeat)
        assert command is not None
        view: Any = consumer.blueprint.command_view(command)
        heartbeat(view)
        assert dispatcher.woken
        assert (dispatcher.sent[-1]["type"], dispatcher.sent[-1]["freq"]) == ("worker-heartbeat", 5)


def test_those_who_listen_are_told_of_each_beat():
    told: list[Any] = []

    class Listener:
        @hookimpl
        def heartbeat_sent(self, heart: Any) -> None:
            told.append(heart)

    dispatcher, timer = Recorder(), FakeTimer()
    with lifetime(HeartStep, services(dispatcher, timer)) as consumer:
        consumer.hooks.register(Listener(), "listener")
        timer.advance(2)
        assert told == [consumer.get(HEART)]


def test_it_is_left_out_when_nobody_wants_it():
    blueprint = make_blueprint([HeartStep], services(Recorder(), FakeTimer()), App(worker_without_heartbeat=True))
    blueprint.apply()
    assert "Heart" not in blueprint.order


def test_keeps_the_contract():
    check_step(HeartStep, {EVENT_DISPATCHER: Recorder()})


def test_the_load_is_known_or_zero(monkeypatch):
    def unknown() -> None:
        raise OSError

    assert len(load_average()) == 3
    monkeypatch.setattr("os.getloadavg", unknown)
    assert load_average() == [0.0, 0.0, 0.0]
