from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Queue
from kombu.exceptions import EncodeError

from bootsteps_consumer_events import dispatcher as module
from bootsteps_consumer_events.dispatcher import Dispatcher
from bootsteps_consumer_events.event import Event, group_from
from bootsteps_tasks import App


class Broker:
    """kombu's transport in memory, with a queue that gets every event."""

    def __init__(self, name: str) -> None:
        self.connection = Connection(f"memory://{name}")
        self.app = App("proj", broker=f"memory://{name}")
        exchange = Dispatcher(app=self.app, enabled=False).exchange
        self.queue = Queue("all", exchange, routing_key="#")(self.connection.channel())
        self.queue.declare()

    def messages(self) -> list[tuple[str, Any]]:
        """Take what has come: routing keys and bodies."""
        found = []
        while (message := self.queue.get(no_ack=True)) is not None:
            found.append((message.delivery_info["routing_key"], message.payload))
        return found


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    made = Broker(request.node.name)
    yield made
    made.connection.release()


def test_an_event_has_the_common_fields_and_its_own(broker):
    before = broker.app.clock.value
    with broker.app.events.Dispatcher(broker.connection, hostname="w@h") as dispatcher:
        dispatcher.send("worker-online", freq=2.0)
    [(key, event)] = broker.messages()
    assert key == "worker.online"
    assert event.keys() == {"type", "hostname", "timestamp", "utcoffset", "pid", "clock", "freq"}
    assert (event["hostname"], event["freq"], event["clock"]) == ("w@h", 2.0, before + 1)


def test_events_of_a_buffered_group_travel_together(broker):
    waiting: list[bool] = []
    dispatcher = Dispatcher(
        broker.connection, "w@h", app=broker.app, buffer_group=("task",), buffer_limit=3,
        on_send_buffered=lambda: waiting.append(True),
    )  # fmt: skip
    dispatcher.send("task-received", uuid="1")
    dispatcher.send("task-started", uuid="1")
    assert broker.messages() == []
    assert waiting == [True]
    dispatcher.send("task-succeeded", uuid="1")
    [(key, events)] = broker.messages()
    assert key == "task.multi"
    assert [event["type"] for event in events] == ["task-received", "task-started", "task-succeeded"]
    dispatcher.send("task-received", uuid="2")
    dispatcher.flush()
    assert [len(events) for _, events in broker.messages()] == [1]


def test_only_groups_that_are_wanted_are_sent(broker):
    dispatcher = Dispatcher(broker.connection, app=broker.app, groups=("worker",))
    changes: list[set[str]] = []
    dispatcher.on_change = lambda: changes.append(set(dispatcher.groups))
    dispatcher.send("task-sent", uuid="1")
    dispatcher.groups.add("task")
    dispatcher.send("task-sent", uuid="2")
    dispatcher.groups.discard("task")
    dispatcher.groups.discard("worker")
    dispatcher.send("my-own", colour="red")  # no group named: all
    assert [key for key, _ in broker.messages()] == ["task.sent", "my.own"]
    assert changes == [{"worker", "task"}, {"worker"}, set()]
    assert group_from("custom-my-event") == "custom"


def test_a_disabled_dispatcher_sends_nothing_and_tells_who_follows_it(broker):
    dispatcher = Dispatcher(broker.connection, app=broker.app, enabled=False)
    told: list[str] = []
    dispatcher.on_enabled.add(lambda: told.append("on"))
    dispatcher.on_disabled.add(lambda: told.append("off"))
    dispatcher.send("worker-online")
    dispatcher.enable()
    dispatcher.send("worker-online")
    dispatcher.disable()
    dispatcher.disable()
    dispatcher.send("worker-online")
    assert told == ["on", "off"]
    assert len(broker.messages()) == 1


def test_what_is_sent_without_a_connection_is_kept_in_order_and_within_bounds(broker, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_KEPT", 5)
    dispatcher = Dispatcher(app=broker.app, buffer_group=("task",))
    for number in range(4):
        dispatcher.send("worker-heartbeat", number=number)
        dispatcher.send("task-foo", number=number)
        dispatcher.flush()
    assert dispatcher.dropped == 3
    assert caplog.text.count("the oldest are dropped") == 1
    dispatcher.attach(broker.connection, broker.connection.channel())
    keys = [key for key, _ in broker.messages()]
    assert keys == ["task.multi", "worker.heartbeat", "task.multi", "worker.heartbeat", "task.multi"]
    other = Dispatcher(app=broker.app)
    other.send("worker-online")
    dispatcher.extend_buffer(other)
    dispatcher.flush()
    assert [key for key, _ in broker.messages()] == ["worker.online"]


def test_a_broken_connection_is_told_once_and_its_events_are_kept(broker):
    dispatcher = Dispatcher(app=broker.app)
    broken: list[Exception] = []
    dispatcher.on_broken = broken.append
    channel = broker.connection.channel()
    dispatcher.attach(broker.connection, channel)
    channel.basic_publish = None  # what a transport raises then is its own affair
    dispatcher.send("worker-online")
    dispatcher.send("worker-heartbeat")
    assert len(broken) == 1
    dispatcher.attach(broker.connection, broker.connection.channel())
    assert [key for key, _ in broker.messages()] == ["worker.online", "worker.heartbeat"]
    unbuffered = Dispatcher(channel=channel, app=broker.app, buffer_while_offline=False)
    with pytest.raises(TypeError):
        unbuffered.send("worker-online")


def test_an_event_that_cannot_be_serialized_is_its_sender_s_error_and_nobody_else_s(broker, caplog):
    dispatcher = Dispatcher(broker.connection, app=broker.app, buffer_group=("task",))
    with pytest.raises(EncodeError):
        dispatcher.send("worker-online", what=object())
    dispatcher.send("task-good", uuid="1")
    dispatcher.send("task-bad", uuid=object())
    dispatcher.send("task-fine", uuid="2")
    dispatcher.flush()
    assert [key for key, _ in broker.messages()] == ["task.good", "task.fine"]
    assert "an event cannot be sent" in caplog.text


def test_threads_may_send_at_one_time(broker):
    dispatcher = Dispatcher(broker.connection, app=broker.app, buffer_group=("task",), buffer_limit=7)

    def send() -> None:
        for _ in range(100):
            dispatcher.send("task-foo")

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dispatcher.flush()
    clocks = [event["clock"] for _, events in broker.messages() for event in events]
    assert len(clocks) == 400
    assert clocks == sorted(set(clocks))


def test_an_event_of_a_producer_of_your_own_goes_out_whatever_the_groups_are(broker):
    dispatcher = Dispatcher(broker.connection, app=broker.app, groups=("worker",))
    dispatcher.publish("task-sent", {"uuid": "1"}, broker.connection.Producer(), blind=True)
    [(_, event)] = broker.messages()
    assert event["clock"] is None
    assert Event("x", {"a": 1}, timestamp=5.0) == {"a": 1, "timestamp": 5.0, "type": "x"}


def test_a_dispatcher_needs_an_application():
    with pytest.raises(TypeError, match=r"app\.events\.Dispatcher"):
        Dispatcher()
