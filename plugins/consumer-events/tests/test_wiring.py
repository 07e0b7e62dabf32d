from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bootsteps import Hooks, RunningRequest
from bootsteps_consumer_events.dispatcher import Dispatcher
from bootsteps_consumer_events.wiring import Wiring
from bootsteps_tasks import App, encode_task, parse_headers

REQUEST = RunningRequest("1", "add", 5.0, 1000.0, 77)


@pytest.fixture
def world() -> Any:
    """Hooks that are wired to a dispatcher, and `told()`, which takes what it kept."""
    app = App("proj", broker="memory://wiring")

    @app.task(name="quiet", send_events=False)
    def quiet() -> None: ...

    hooks, dispatcher = Hooks(), Dispatcher(app=app)
    Wiring(app, hooks, dispatcher).refresh()

    def told() -> list[dict[str, Any]]:
        found = [event for event, _ in dispatcher._kept]
        dispatcher._kept.clear()
        common = ("hostname", "utcoffset", "pid", "clock", "timestamp")
        return [{name: value for name, value in event.items() if name not in common} for event in found]

    return SimpleNamespace(hooks=hooks, dispatcher=dispatcher, told=told)


def headers(name: str = "add", **options: Any) -> Any:
    message = encode_task("1", name, (1, 2), {"z": 3}, **options)
    return parse_headers(message.headers, message.properties, {})


def test_a_received_task_is_told_with_what_its_message_says(world):
    when = "2030-01-01T00:00:00+00:00"
    request = headers(eta=when, expires=when, retries=1, root_id="r", parent_id="p")
    world.hooks.announce("task_received", name="add", id="1", request=request)
    assert world.told() == [
        {
            "type": "task-received", "uuid": "1", "name": "add", "args": "(1, 2)", "kwargs": "{'z': 3}",
            "root_id": "r", "parent_id": "p", "retries": 1, "eta": when, "expires": when,
        }
    ]  # fmt: skip
    world.hooks.announce("task_received", name="add", id="1", request=headers(shadow="other"))
    assert world.told()[0]["name"] == "other"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("SUCCESS", [{"type": "task-succeeded", "uuid": "1", "result": "x", "runtime": 0.5}]),
        ("FAILURE", [{"type": "task-failed", "uuid": "1", "exception": "x", "traceback": "tb"}]),
        ("RETRY", [{"type": "task-retried", "uuid": "1", "exception": "x", "traceback": "tb"}]),
        (
            "REJECTED",
            [
                {"type": "task-failed", "uuid": "1", "exception": "x", "traceback": "tb"},
                {"type": "task-rejected", "uuid": "1", "requeue": False},
            ],
        ),
        ("REQUEUED", [{"type": "task-rejected", "uuid": "1", "requeue": True}]),
        ("IGNORED", []),
        ("REVOKED", []),
    ],
)
def test_how_a_task_ended_is_told(world, state, expected):
    world.hooks.announce("task_settled", request=REQUEST, state=state, runtime_s=0.5, text="x", traceback="tb")
    assert world.told() == expected


def test_what_never_ran_has_no_traceback(world):
    request = RunningRequest("1", "nobody", 0.0, 0.0, 0)
    world.hooks.announce("task_settled", request=request, state="FAILURE", runtime_s=0, text="x", traceback="")
    assert world.told() == [{"type": "task-failed", "uuid": "1", "exception": "x"}]


def test_starts_revokes_and_cancellations_are_told(world):
    world.hooks.announce("task_started", request=REQUEST)
    assert world.dispatcher._kept[0][0]["timestamp"] == 1000.0
    world.hooks.announce("task_revoked", request=headers(), terminated=True, signum=9, expired=False)
    world.hooks.announce("task_cancelled", request=headers())
    assert world.told() == [
        {"type": "task-started", "uuid": "1"},
        {"type": "task-revoked", "uuid": "1", "terminated": True, "signum": 9, "expired": False},
        {"type": "task-cancelled", "uuid": "1"},
    ]


def test_a_task_that_sends_no_events_is_not_told_of(world):
    quiet = RunningRequest("1", "quiet", 0.0, 0.0, 1)
    world.hooks.announce("task_received", name="quiet", id="1", request=headers("quiet"))
    world.hooks.announce("task_started", request=quiet)
    world.hooks.announce("task_settled", request=quiet, state="SUCCESS", runtime_s=0, text="", traceback="")
    world.hooks.announce("task_revoked", request=headers("quiet"), terminated=False, signum=None, expired=False)
    world.hooks.announce("task_cancelled", request=headers("quiet"))
    assert world.told() == []
