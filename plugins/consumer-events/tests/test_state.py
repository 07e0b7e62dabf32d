from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from bootsteps_consumer_events.camera import Polaroid
from bootsteps_consumer_events.dumper import Dumper
from bootsteps_consumer_events.state import State

CLOCK = itertools.count(1)


def event(type: str, **fields: Any) -> dict[str, Any]:
    now = time.time()
    common = {"type": type, "hostname": "w@h", "timestamp": now, "local_received": now, "clock": next(CLOCK), "pid": 7}
    return {**common, **fields}


def of_task(kind: str, uuid: str = "1", **fields: Any) -> dict[str, Any]:
    return event(f"task-{kind}", uuid=uuid, **fields)


RECEIVED: dict[str, Any] = {
    "name": "add",
    "args": "(1,)",
    "kwargs": "{}",
    "retries": 0,
    "parent_id": None,
    "root_id": "1",
}


def test_a_task_goes_through_its_states():
    state = State()
    for kind, fields, expected in (
        ("sent", {"hostname": "gen1@h", "name": "add"}, "PENDING"),
        ("received", RECEIVED, "RECEIVED"),
        ("started", {}, "STARTED"),
        ("progress", {"done": 3}, "PROGRESS"),
        ("retried", {"exception": "KeyError()"}, "RETRY"),
        ("started", {}, "STARTED"),
        ("succeeded", {"result": "2", "runtime": 0.5}, "SUCCESS"),
    ):
        state.event(of_task(kind, **fields))
        assert state.tasks["1"].state == expected
    task = state.tasks["1"]
    assert task.ready
    assert task.worker is not None
    assert (task.client, task.worker.hostname, task.origin) == ("gen1@h", "w@h", "w@h.None")  # no beat told its pid
    assert (task.result, task.runtime, task.done) == ("2", 0.5, 3)
    assert task.info(["args", "eta"], extra=["runtime"]) == {"args": "(1,)", "runtime": 0.5}
    assert task.as_dict()["worker"] == "w@h"
    assert (state.event_count, state.task_count) == (7, 1)


def test_a_late_event_tells_what_no_other_does_and_changes_nothing_else():
    state = State()
    state.event(of_task("succeeded", result="2"))
    state.event(of_task("started", result="wrong", timestamp=5.0))
    state.event(of_task("received", **RECEIVED, result="wrong"))
    task = state.tasks["1"]
    assert (task.state, task.name, task.args, task.started) == ("SUCCESS", "add", "(1,)", 5.0)
    # "started" may overwrite fields as in Celery, "received" only those that are its own
    assert task.result == "wrong"


def test_an_event_cannot_overwrite_what_a_task_is_made_of():
    state = State()
    state.event(of_task("received", **RECEIVED, children="x", cluster_state=None, worker="evil", ready=True))
    task = state.tasks["1"]
    assert task.worker is state.workers["w@h"]
    assert task.cluster_state is state
    assert not task.ready
    state.event(event("worker-heartbeat", alive=True, update="evil", freq=2.0))
    assert callable(state.workers["w@h"].update)


def test_workers_live_as_long_as_their_beats_are_not_overdue():
    joined: list[str] = []
    left: list[str] = []
    state = State(on_node_join=lambda w: joined.append(w.hostname), on_node_leave=lambda w: left.append(w.hostname))
    state.event(event("worker-online", freq=2.0, active=0, processed=5, loadavg=[1, 2, 3], sw_ident="py"))
    worker = state.workers["w@h"]
    assert list(state.alive_workers()) == [worker]
    assert (worker.status_string, worker.processed, worker.id) == ("ONLINE", 5, "w@h.7")
    old = time.time() - 5
    state.event(event("worker-heartbeat", hostname="late@h", freq=2.0, timestamp=old, local_received=old))
    assert not state.workers["late@h"].alive
    for _ in range(9):
        state.event(event("worker-heartbeat", freq=2.0))
    assert len(worker.heartbeats) == 4
    state.event(event("worker-offline"))
    assert joined == ["w@h", "late@h"]
    assert left == ["w@h"]
    assert not worker.alive
    assert "w@h" not in state.workers


def test_tasks_are_found_by_name_worker_and_time():
    state = State()
    for number, name in enumerate(("add", "mul", "add")):
        state.event(of_task("received", str(number), **{**RECEIVED, "name": name}, hostname=f"w{number % 2}@h"))
    assert [uuid for uuid, _ in state.tasks_by_time()] == ["2", "1", "0"]
    assert [uuid for uuid, _ in state.tasks_by_time(limit=2, reverse=False)] == ["0", "1"]
    assert [uuid for uuid, _ in state.tasks_by_type("add")] == ["2", "0"]
    assert {task.uuid for task in state.tasks_by_type["add"]} == {"0", "2"}
    assert [uuid for uuid, _ in state.tasks_by_worker("w1@h", limit=1)] == ["1"]
    assert state.tasks_by_worker.keys() == ["w0@h", "w1@h"]
    assert state.task_types() == ["add", "mul"]
    assert [uuid for uuid, _ in state.itertasks(1)] == ["0"]


def test_children_find_their_parents_in_any_order():
    state = State()
    state.event(of_task("received", "child", **{**RECEIVED, "parent_id": "parent", "root_id": "parent"}))
    state.event(of_task("received", "parent", **RECEIVED))
    child, parent = state.tasks["child"], state.tasks["parent"]
    assert (child.parent, child.root, set(parent.children)) == (parent, parent, {child})


def test_memory_is_bounded_and_can_be_freed():
    state = State(max_tasks_in_memory=3, max_workers_in_memory=2)
    for number in range(5):
        state.event(of_task("received" if number % 2 else "succeeded", str(number), hostname=f"w{number}@h"))
    assert list(state.tasks) == ["2", "3", "4"]
    assert list(state.workers) == ["w3@h", "w4@h"]
    state.clear_tasks()
    assert list(state.tasks) == ["3"]
    state.clear(ready=False)
    assert not state.tasks
    assert not state.workers


def test_handlers_and_a_callback_of_your_own_are_called():
    seen: list[str] = []
    state = State(callback=lambda state, event: seen.append(event["type"]))
    state.handlers["my"] = lambda subject, event: (subject, event["x"])
    assert state.event(event("my-own", x=1)) == (("own", 1), "own")
    assert state.event(event("strange-thing")) is None
    assert seen == ["my-own", "strange-thing"]


def test_a_line_names_the_task_that_only_its_first_event_named():
    dumper = Dumper()
    dumper.line(of_task("received", **RECEIVED))
    line = dumper.line(of_task("failed", exception="X()", traceback="a\nb", timestamp=0.0))
    assert line.endswith("w@h task-failed add[1] exception=X() traceback=a\\nb")
    assert dumper.line({"type": "my-own", "x": None, "y": 1}) == "- - my-own y=1"


def test_a_camera_takes_a_picture_when_it_is_due(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    taken: list[int] = []

    class Camera(Polaroid):
        clear_after = True

        def on_shutter(self, state: State) -> None:
            taken.append(len(state.tasks))

        def on_cleanup(self) -> None:
            taken.append(-1)

    state = State()
    camera = Camera(state, freq=2.0, cleanup_freq=5.0)
    state.event(of_task("succeeded"))
    for moment in (1.0, 2.0, 3.0, 4.0, 5.0):
        now[0] = moment
        camera.tick()
    assert taken == [1, 0, -1]


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_ready_states(state):
    task = State().Task("1")
    task.event({"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked"}[state], 1.0)
    assert task.ready
