"""What Celery's steps and blueprints do, row by row of docs/features.md, as far as other tests do not show it."""

from __future__ import annotations

import collections
import logging
import threading
from typing import Any

import pytest

from bootsteps import App, Blueprint, Catalogue, ConsumerStep, Parent, ServiceKey, StartStopStep, State, Step, compose
from bootsteps.testing import make_blueprint

CONNECTION = ServiceKey[Any]("connection")


def booted(*steps: type[Step]) -> Blueprint:
    blueprint = make_blueprint(steps)
    blueprint.apply()
    blueprint.start()
    return blueprint


def test_every_step_is_made_before_any_creates_its_object():
    calls: list[str] = []

    class Traced(Step):
        def __init__(self, parent, **options):
            calls.append(f"{type(self).__name__}.init")

        def include_if(self, parent):
            calls.append(f"{type(self).__name__}.include_if")
            return type(self).__name__ != "B"

        def create(self, parent):
            calls.append(f"{type(self).__name__}.create")

    steps = [type(name, (Traced,), {}) for name in ("C", "B", "A")]
    blueprint = make_blueprint(steps)
    blueprint.apply()
    made = [f"{name}.{call}" for call in ("init", "include_if") for name in "ABC"]
    assert calls == [*made, "A.create", "C.create"]
    assert blueprint.parent.steps == [blueprint["A"], blueprint["C"]]


def test_what_create_returns_is_the_steps_object_and_gets_no_arguments():
    calls: list[tuple[str, tuple[Any, ...]]] = []

    class Engine:
        def start(self, *args: Any) -> None:
            calls.append(("start", args))

        def stop(self, *args: Any) -> None:
            calls.append(("stop", args))

        def terminate(self, *args: Any) -> None:
            calls.append(("terminate", args))

    class Delegates(StartStopStep):
        def create(self, parent):
            return Engine()

    for terminate, last in ((False, "stop"), (True, "terminate")):
        calls.clear()
        blueprint = booted(Delegates)
        assert isinstance(blueprint["Delegates"].obj, Engine)
        blueprint.stop(terminate=terminate)
        assert calls == [("start", ()), (last, ())]


def test_a_label_stands_in_the_log_and_the_name_in_requirements(caplog):
    class Long(Step):
        name = "proj.steps.Long"
        label = "short"

    class Needs(Step):
        requires = ("proj.steps.Long",)

    with caplog.at_level(logging.DEBUG):
        blueprint = booted(Needs, Long)
        blueprint.stop()
    assert blueprint.order == ["proj.steps.Long", "Needs"]
    lines = {record.getMessage() for record in caplog.records}
    assert {"| Test: New boot order: {short, Needs}", "| Test: Starting short", "| Test: Stopping short..."} <= lines


def test_a_step_can_import_what_it_makes_when_it_makes_it():
    class Makes(Step):
        def create(self, parent):
            return self.instantiate("collections:Counter", "aab"), self.instantiate(dict, a=1)

    assert booted(Makes)["Makes"].obj == (collections.Counter("aab"), {"a": 1})


def test_the_blueprint_tells_where_it_stands():
    states: list[State] = []

    class Looks(Step):
        def look(self, parent):
            states.append(parent.blueprint.state)

        start = close = stop = look

    class Waits(Step):
        requires = (Looks,)

    blueprint = make_blueprint([Waits])
    assert (blueprint.name, blueprint.state) == ("Test", 0)
    blueprint.apply()
    blueprint.start()
    assert (blueprint.state, blueprint.order, blueprint.started) == (1, ["Looks", "Waits"], ["Looks", "Waits"])
    assert blueprint.steps == [blueprint["Looks"], blueprint["Waits"]]
    assert list(blueprint.graph.edges) == [("Looks", "Waits")]
    blueprint.close()
    assert blueprint.state == 2
    assert not blueprint.shutdown_complete.is_set()
    blueprint.stop()
    assert (blueprint.state, blueprint.started) == (3, [])
    assert blueprint.shutdown_complete.is_set()
    assert states == [State.RUN, State.CLOSE, State.CLOSE]


def test_send_all_calls_those_that_have_the_method_the_last_started_first(caplog):
    calls: list[tuple[str, Any, str]] = []

    class Rings(Step):
        def ring(self, parent, tone):
            calls.append((type(self).__name__, parent, tone))
            if type(self).__name__ == "B":
                raise ValueError("cracked")

    class Silent(Step):
        pass

    blueprint = booted(Silent, *(type(name, (Rings,), {}) for name in "ABC"))
    blueprint.send_all("ring", "ding")
    assert calls == [(name, blueprint.parent, "ding") for name in "CBA"]
    assert "step B failed to ring" in caplog.text
    calls.clear()
    blueprint.send_all("ring", "dong", reverse=False)
    assert [name for name, *_ in calls] == ["A", "B", "C"]


def test_another_thread_can_wait_for_the_end():
    class Any_(Step):
        pass

    blueprint = booted(Any_)
    assert blueprint.join(0) is False
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(blueprint.join(30)))
    thread.start()
    blueprint.stop()
    thread.join(30)
    assert ended == [True]


def test_one_class_may_join_both_blueprints():
    class Both(Step):
        def __init__(self, parent, **options):
            self.seen = (repr(parent), options)

    class Host(Step):
        runs = "consumer"

        def create(self, parent):
            consumer = Parent(parent.app, options=parent.options, outer=parent.blueprint.parent)
            inner = parent.blueprint.nested("Host", consumer)
            inner.apply()
            return inner

    app = App()
    app.steps["worker"].update([Both, Host])
    app.steps["consumer"].add(Both)
    blueprint = Blueprint(compose(app, Catalogue(())), Parent(app, options={"concurrency": 2}))
    blueprint.apply()
    inner = blueprint["Host"].obj
    for each in (blueprint, inner):
        assert vars(each["Both"])["seen"] == (repr(each.parent), {"concurrency": 2})
    assert blueprint["Both"] is not inner["Both"]


class Channel:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def close(self) -> None:
        self.calls.append("close")


class Consumer:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def consume(self) -> None:
        self.channel.calls.append("consume")

    def cancel(self) -> None:
        self.channel.calls.append("cancel")


def consumer_step(get_consumers: Any, error: Exception | None = None) -> tuple[Blueprint, list[Channel]]:
    channels: list[Channel] = []

    class FakeConnection:
        connection_errors = (LookupError,)

        def channel(self) -> Channel:
            channels.append(Channel())
            return channels[-1]

    class Connection(Step):
        provides = (CONNECTION,)

        def create(self, parent):
            return FakeConnection()

    mine = type("Mine", (ConsumerStep,), {"get_consumers": get_consumers})
    return booted(Connection, mine), channels


def test_a_consumer_step_opens_one_channel_and_closes_it():
    blueprint, channels = consumer_step(lambda self, channel: [Consumer(channel), Consumer(channel)])
    assert len(blueprint["Mine"].consumers) == 2  # type: ignore[attr-defined]
    blueprint.stop()
    assert [channel.calls for channel in channels] == [["consume", "consume", "cancel", "cancel", "close"]]
    blueprint.shutdown()
    assert channels[0].calls[-2:] == ["cancel", "close"]  # nothing more: the stop has closed it


def test_shutdown_alone_closes_the_channel_without_cancelling():
    blueprint, channels = consumer_step(lambda self, channel: [Consumer(channel)])
    blueprint.shutdown()
    assert channels[0].calls == ["consume", "close"]


@pytest.mark.parametrize("nothing", [None, ()])
def test_a_consumer_step_may_have_nothing_to_consume(nothing):
    blueprint, channels = consumer_step(lambda self, channel: nothing)
    blueprint.stop()
    assert [channel.calls for channel in channels] == [["close"]]


def test_a_consumer_step_whose_connection_is_gone_stops_all_the_same(caplog):
    class Gone(Consumer):
        def cancel(self) -> None:
            raise LookupError("gone")

    blueprint, channels = consumer_step(lambda self, channel: [Gone(channel)])
    blueprint.stop()
    assert channels[0].calls == ["consume", "close"]
    assert "failed to stop" not in caplog.text
