from __future__ import annotations

import threading
import time
from typing import Any

from bootsteps import HUB, TIMER
from bootsteps.commands import command_of
from bootsteps.testing import FakeHub, FakeTimer, make_blueprint
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_events.commands import disable_events, enable_events
from bootsteps_consumer_events.step import EventsStep
from bootsteps_tasks import App

HOOKS = ("task_received", "task_started", "task_settled", "task_revoked", "task_cancelled")


def booted(name: str, **settings: Any) -> Any:
    """Return the blueprint of the step alone, started."""
    app = App("proj", broker=f"memory://{name}", **settings)
    services = {CONNECTION: app.connection(), HUB: FakeHub(), TIMER: FakeTimer()}
    blueprint = make_blueprint([EventsStep], services, app)
    blueprint.apply()
    blueprint.start()
    return blueprint


def listening(blueprint: Any) -> list[str]:
    return [hook for hook in HOOKS if blueprint.parent.hooks.listeners(hook)]


def test_nobody_hears_of_tasks_unless_their_events_are_wanted(request):
    blueprint = booted(request.node.name)
    dispatcher = blueprint.parent.event_dispatcher
    assert listening(blueprint) == []
    dispatcher.groups.add("task")
    assert listening(blueprint) == list(HOOKS)
    dispatcher.disable()
    assert listening(blueprint) == []
    dispatcher.enable()
    assert listening(blueprint) == list(HOOKS)
    dispatcher.groups.discard("task")
    assert listening(blueprint) == []
    blueprint.stop()


def test_they_are_wanted_from_the_start_by_a_setting_and_no_more_after_the_end(request):
    blueprint = booted(request.node.name, worker_send_task_events=True)
    assert listening(blueprint) == list(HOOKS)
    blueprint.stop()
    assert listening(blueprint) == []


def test_the_commands_answer_as_celery_s_do(request):
    blueprint = booted(request.node.name)
    command = command_of(enable_events)
    assert command is not None
    view: Any = blueprint.command_view(command)
    assert enable_events(view) == {"ok": "task events enabled"}
    assert enable_events(view, some="thing") == {"ok": "task events already enabled"}
    assert disable_events(view) == {"ok": "task events disabled"}
    assert disable_events(view) == {"ok": "task events already disabled"}
    blueprint.stop()


def test_the_dispatcher_outlives_a_connection_with_what_it_keeps_and_what_was_switched(request):
    blueprint = booted(request.node.name)
    dispatcher = blueprint.parent.event_dispatcher
    dispatcher.groups.add("task")
    blueprint.stop_with_dependants("Events")
    assert listening(blueprint) == list(HOOKS)  # tasks go on meanwhile
    dispatcher.send("task-foo")
    assert dispatcher.producer is None
    blueprint.start()
    assert blueprint.parent.event_dispatcher is dispatcher
    assert dispatcher.producer is not None
    assert "task" in dispatcher.groups
    blueprint.stop()


def test_a_broken_connection_is_made_anew_after_a_pause(request, monkeypatch, caplog):
    blueprint = booted(request.node.name)
    dispatcher, hub, timer = (getattr(blueprint.parent, name) for name in ("event_dispatcher", "hub", "timer"))
    monkeypatch.setattr(dispatcher.channel, "basic_publish", None)
    dispatcher.send("worker-online")
    hub.run_once()
    assert dispatcher.producer is None
    assert timer.pending == 1
    timer.advance(1)
    while any(thread.name == "broker-reach" for thread in threading.enumerate()):
        time.sleep(0.01)  # it asks whether the broker is there
    hub.run_once()
    assert dispatcher.producer is not None
    assert "the connection for events broke" in caplog.text
    blueprint.stop()
    assert timer.pending == 0
