"""What plugins for Celery read of the worker and the consumer beyond the guides: `worker.state` and others."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import running_worker, until

pytest.importorskip("bootsteps_worker_pool_threads")

APP = """
    import time
    import bootsteps
    from bootsteps.cli import Option
    from bootsteps_tasks import App

    app = App("proj", worker_prefetch_multiplier=4)

    @app.task
    def hold(name):
        while not __import__("os").path.exists("go"):
            time.sleep(0.01)

    class Looks(bootsteps.StartStopStep):
        requires = ("Timer", "Requests", "Pool")

        def start(self, worker):
            tick = worker.timer.call_repeatedly(0.05, self.look, (worker,))
            worker.on_stop(tick.cancel)

        def look(self, worker):
            state = worker.state
            def names(requests):
                return sorted(request.argsrepr.strip("()[],'") for request in requests)
            print("looked:", {
                "requests": {task_id: request.name for task_id, request in state.requests.items()},
                "active": names(state.active_requests),
                "reserved": names(state.reserved_requests),
                "scheduled": names(state.scheduled_requests),
                "pids": len({request.worker_pid for request in state.active_requests}),
                "revoked": "some-id" in state.revoked,
                "stamps": dict(state.revoked_stamps),
                "total": state.total_count,
                "all": state.all_total_count,
                "concurrency": worker.pool.concurrency,
                "options": (worker.options["concurrency"], worker.options["my_own"]),
                "exitcode": worker.exitcode,
            }, flush=True)
            if not state.revoked:
                state.revoked.add("some-id")
            if state.all_total_count == [3] and not state.requests:
                worker.stop(exitcode=7)

    class Restarts(bootsteps.ConsumerStep):
        def start(self, consumer):
            print("restarts:", consumer.restart_count, consumer.controller.options["my_own"], flush=True)

    app.steps["worker"].add(Looks)
    app.steps["consumer"].add(Restarts)
    app.user_options["worker"].add(Option("--my-own", default="none"))
"""


def test_a_step_reads_the_state_of_the_worker_by_celerys_names_and_ends_it_with_a_status(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with running_worker(tmp_path, "-P", "threads", "-c", "1", "--my-own", "mine", app=APP) as worker:

        def looks() -> list[dict[str, Any]]:
            lines = worker.log.splitlines()[:-1]
            return [ast.literal_eval(line.partition("looked: ")[2]) for line in lines if "looked: " in line]

        client = App("proj")
        first = client.send_task("proj.hold", ["a"])
        until(lambda: looks() and looks()[-1]["active"] == ["a"], "the first")
        second = client.send_task("proj.hold", ["b"])
        third = client.send_task("proj.hold", ["c"], countdown=2.0)
        until(lambda: looks()[-1]["scheduled"] == ["c"] and len(looks()[-1]["reserved"]) == 2, "the others")
        assert looks()[-1] == {
            "requests": {task.id: "proj.hold" for task in (first, second, third)},
            "active": ["a"],
            "reserved": ["a", "b"],
            "scheduled": ["c"],
            "pids": 1,
            "revoked": True,
            "stamps": {},
            "total": {"proj.hold": 1},
            "all": [1],
            "concurrency": 1,
            "options": (1, "mine"),
            "exitcode": 0,
        }
        assert "restarts: 0 mine" in worker.log
        (tmp_path / "go").touch()
        client.close()
        assert worker.wait() == 7  # stopped warmly, by a step
        assert "tasks finished meanwhile" in worker.log
