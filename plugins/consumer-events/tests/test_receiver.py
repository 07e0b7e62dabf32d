from __future__ import annotations

from typing import Any

import pytest
from kombu import Connection

from bootsteps import SettingError
from bootsteps_consumer_events import receiver as module
from bootsteps_tasks import App


@pytest.fixture
def app(request: pytest.FixtureRequest) -> App:
    return App("proj", broker=f"memory://{request.node.originalname}")


def test_its_queue_is_as_the_settings_say(app):
    app.conf.update(event_queue_prefix="mine", event_queue_ttl=1.5, event_queue_expires=9.0, event_exchange="ev")
    queue = app.events.Receiver(app.connection(), node_id="me").queue
    assert (queue.name, queue.exchange.name, queue.exchange.type) == ("mine.me", "ev", "topic")
    assert (queue.message_ttl, queue.expires) == (1.5, 9.0)
    assert (queue.exclusive, queue.auto_delete, queue.durable) == (True, True, False)
    app.conf.update(event_queue_durable=True, event_queue_exclusive=False)
    queue = app.events.Receiver(app.connection(), queue_ttl=3).queue
    assert (queue.exclusive, queue.auto_delete, queue.durable, queue.message_ttl) == (False, False, True, 3)


def test_a_queue_is_not_exclusive_and_durable(app):
    app.conf["event_queue_durable"] = True
    with pytest.raises(SettingError, match="exclusive and durable"):
        app.events.Receiver(app.connection())


def test_its_serializer_is_that_of_the_settings(app):
    assert app.events.Receiver(app.connection()).accept == {"json"}
    app.conf["event_serializer"] = "yaml"
    assert app.events.Receiver(app.connection()).accept == {"json", "yaml"}
    assert app.events.Dispatcher(app.connection()).serializer == "yaml"


def test_it_captures_single_events_and_lists_of_them(app, monkeypatch):
    woken: list[str] = []
    monkeypatch.setattr(module, "broadcast", lambda app, command: woken.append(command))
    with app.connection() as connection:
        seen: list[str] = []
        handlers = {"task-foo": lambda event: seen.append("foo"), "*": lambda event: seen.append(event["type"])}
        receiver = app.events.Receiver(connection, handlers=handlers)
        captured = receiver.itercapture(limit=2)
        receiver.queue(connection.channel()).declare()
        dispatcher = app.events.Dispatcher(connection, buffer_group=("task",))
        dispatcher.send("worker-online")
        dispatcher.send("task-foo")
        dispatcher.send("task-bar")
        dispatcher.flush()
        assert len(list(captured)) == 2
    assert seen == ["worker-online", "foo", "task-bar"]
    assert woken == ["heartbeat"]


def test_it_gives_up_after_a_time_without_any(app, monkeypatch):
    with app.connection() as connection, pytest.raises(TimeoutError):
        app.events.Receiver(connection).capture(timeout=1, wakeup=False)


def test_clocks_are_set_by_what_is_heard(app):
    receiver = app.events.Receiver(app.connection())
    type_, event = receiver.event_from_message(
        {"type": "worker-online", "clock": 50, "timestamp": 7.0, "utcoffset": -5}
    )
    assert (type_, event["timestamp"]) == ("worker-online", 7.0)
    assert event["local_received"] > 7
    assert app.clock.value == 51
    _, event = receiver.event_from_message({"type": "task-sent", "clock": 9999})
    assert event["clock"] == 50  # a client's clock says nothing
    _, event = receiver.event_from_message({"type": "my-own"})
    assert event["clock"] == app.clock.value


@pytest.mark.parametrize("body", [5, None, "text", [1, None], {"no": "type"}, {"type": 5}])
def test_what_is_no_event_hurts_nobody(app, body):
    seen: list[Any] = []
    receiver = app.events.Receiver(app.connection(), handlers={"*": seen.append})
    receiver._receive(body, None)
    assert seen == []


def test_a_receiver_needs_an_application():
    with pytest.raises(TypeError, match=r"app\.events\.Receiver"):
        module.Receiver(Connection("memory://"))
