"""Real workers with each pool, as a client sees them."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from bootsteps_tasks import App, errors
from workers import TASKS, running_worker, until

APP = (
    TASKS
    + """
    import asyncio, contextvars, multiprocessing, sys
    from billiard.process import current_process
    from bootsteps_tasks.errors import SoftTimeLimitExceeded

    mine = contextvars.ContextVar("mine", default=None)

    @app.task(bind=True)
    def place(self):
        return {
            "index": current_process().index, "name": multiprocessing.current_process().name, "pid": os.getpid(),
            "patched": "gevent" in sys.modules or "eventlet" in sys.modules,
            "id": self.request.id, "backend": app.conf.result_backend, "main": "__main__" in sys.modules,
        }
"""
)
COROUTINES = """

    @app.task(bind=True)
    async def anap(self, seconds, value):
        before = mine.get()
        mine.set(value)
        await asyncio.sleep(seconds)
        return [before, mine.get(), self.request.id, os.getpid()]

    @app.task
    async def careful(seconds):
        try:
            await asyncio.sleep(seconds)
        except SoftTimeLimitExceeded as exc:
            return ["cleaned up", exc.args[0]]

    @app.task
    async def gives_up():
        raise SystemExit(3)
"""


def send(app: App, name: str, *args: Any, **options: Any) -> Any:
    return app.send_task(f"proj.{name}", args, **options)


def test_coroutines_run_side_by_side_with_their_own_context(tmp_path, client):
    with running_worker(tmp_path, "-P", "asyncio", "-c", "200", app=APP + COROUTINES) as worker:
        began = time.monotonic()
        naps = [send(client, "anap", 1.0, number) for number in range(200)]
        found = [nap.get(timeout=30) for nap in naps]
        assert time.monotonic() - began < 5
        assert [(before, value) for before, value, *_ in found] == [(None, number) for number in range(200)]
        assert [task_id for *_, task_id, _ in found] == [nap.id for nap in naps]
        assert {pid for *_, pid in found} == set(worker.children())
        ended = send(client, "gives_up")
        ended.get(timeout=10, propagate=False)
        assert ended.state == "FAILURE"
        with pytest.raises(ValueError, match="bad"):
            send(client, "fail", "bad").get(timeout=10)
        assert worker.stop() == 0
        assert "lost" not in worker.log


def test_limits_reach_a_coroutine_and_a_task_in_a_thread(tmp_path, client):
    with running_worker(tmp_path, "-P", "asyncio", "-c", "10", app=APP + COROUTINES) as worker:
        [pid] = worker.children()
        careful = send(client, "careful", 60, soft_time_limit=0.3)
        assert careful.get(timeout=20) == ["cleaned up", 0.3]
        with pytest.raises(errors.SoftTimeLimitExceeded, match=r"0\.3"):
            send(client, "anap", 60, 1, soft_time_limit=0.3).get(timeout=20)
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.3"):
            send(client, "anap", 60, 1, time_limit=0.3).get(timeout=20)
        naps = [send(client, "nap", 1.0) for _ in range(5)]
        assert [nap.get(timeout=20) for nap in naps] == [1.0] * 5
        assert worker.children() == [pid], "none of these cost the child"
        neighbour = send(client, "anap", 2.0, 7)
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.5"):
            send(client, "nap", 60, time_limit=0.5).get(timeout=20)
        assert neighbour.get(timeout=20)[1] == 7, "it is delivered again"
        assert worker.children() != [pid], "a thread that sleeps cannot be ended otherwise"
        assert worker.stop() == 0
        assert worker.log.count(f"[{careful.id}] reached its soft time limit of 0.3 s") == 1


def test_a_coroutine_task_is_refused_by_a_pool_that_cannot_run_it(tmp_path):
    with running_worker(tmp_path, "-P", "prefork", app=APP + COROUTINES, ready=False) as worker:
        assert worker.wait() != 0
        assert "task 'proj.anap' is a coroutine, which needs 'coroutines', and the pool cannot do that" in worker.log
        assert "try: choose another pool: kernel worker -P asyncio" in worker.log


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_greenlets_run_side_by_side_in_a_patched_child(tmp_path, client, pool):
    pytest.importorskip(f"bootsteps_worker_pool_{pool}")
    with running_worker(tmp_path, "-P", pool, "-c", "50", app=APP) as worker:
        began = time.monotonic()
        naps = [send(client, "nap", 1.0) for _ in range(50)]
        assert [nap.get(timeout=30) for nap in naps] == [1.0] * 50
        assert time.monotonic() - began < 5
        places = [result.get(timeout=10) for result in [send(client, "place") for _ in range(20)]]
        assert {(place["pid"], place["patched"], place["name"]) for place in places} == {
            (worker.children()[0], True, "SpawnPoolWorker-1")
        }
        assert len({place["id"] for place in places}) == 20
        with pytest.raises(errors.SoftTimeLimitExceeded, match=r"0\.3"):
            send(client, "nap", 60, soft_time_limit=0.3).get(timeout=20)
        with pytest.raises(errors.TimeLimitExceeded, match=r"0\.3"):
            send(client, "nap", 60, time_limit=0.3).get(timeout=20)
        assert worker.stop() == 0
        assert "was killed, since" not in worker.log


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_start_as_the_setting_says(tmp_path, client, method):
    options = ("-c", "2", "--pool-start-method", method)
    with running_worker(tmp_path, *options, app=APP) as worker:
        naps = [send(client, "nap", 0.5) for _ in range(2)]
        assert [nap.get(timeout=20) for nap in naps] == [0.5, 0.5]
        places = [result.get(timeout=20) for result in [send(client, "place") for _ in range(40)]]
        names = {"fork": "ForkPoolWorker", "spawn": "SpawnPoolWorker", "forkserver": "ForkServerPoolWorker"}[method]
        assert {(place["index"], place["name"]) for place in places} <= {(0, f"{names}-1"), (1, f"{names}-2")}
        os.kill(places[0]["pid"], 9)
        worker.until_logged("was killed by signal 9 (SIGKILL)")
        adds = [send(client, "add", number, 1) for number in range(20)]
        assert [result.get(timeout=20) for result in adds] == list(range(1, 21))
        assert worker.stop() == 0


def test_a_child_that_takes_too_much_memory_is_killed_in_the_midst_of_its_task(tmp_path, client):
    hungry = """
    @app.task
    def hungry():
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * (1 << 20))
            time.sleep(0.001)
    """
    options = ("-c", "2", "--max-memory-per-child-hard", "200000")
    with running_worker(tmp_path, *options, app=APP + hungry) as worker:
        neighbour = send(client, "nap", 2.0, str(tmp_path / "pids"))
        with pytest.raises(
            errors.WorkerLostError, match=r"was killed: it used \d+ KiB of memory, and 200000 are allowed"
        ):
            send(client, "hungry").get(timeout=60)
        assert neighbour.get(timeout=20) == 2.0
        assert len((tmp_path / "pids").read_text().split()) == 1, "its neighbour noticed nothing"
        assert worker.log.count("goes back to the queue") == 3, "and it was not tried for ever"
        assert worker.stop() == 0


def test_a_dead_child_is_replaced_within_a_second_with_its_index(tmp_path, client):
    with running_worker(tmp_path, "-c", "2", app=APP) as worker:
        neighbour = send(client, "nap", 3.0, str(tmp_path / "pids"))
        until(lambda: (tmp_path / "pids").exists(), "the nap")
        busy = (tmp_path / "pids").read_text()
        before = send(client, "place").get(timeout=10)
        killed = time.monotonic()
        os.kill(before["pid"], 9)
        after = send(client, "place").get(timeout=10)
        assert time.monotonic() - killed < 1.0
        assert before["pid"] != after["pid"] != int(busy)
        assert (after["index"], after["name"]) == (before["index"], before["name"])
        assert after["name"] == f"ForkPoolWorker-{after['index'] + 1}"
        assert neighbour.get(timeout=10) == 3.0
        assert (tmp_path / "pids").read_text() == busy, "it ran once"
        assert worker.stop() == 0


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("--pool-start-method", "spawn", "worker_pool_start_method = spawn"),
        ("--pool-children", "2", "worker_pool_children = 2"),
        ("--max-tasks-per-child", "5", "worker_max_tasks_per_child = 5"),
        ("--max-memory-per-child-hard", "100000", "worker_max_memory_per_child_hard = 100000"),
    ],
)
def test_an_option_that_only_another_pool_reads_is_refused(tmp_path, option, value, name):
    with running_worker(tmp_path, "-P", "threads", option, value, app=APP, ready=False) as worker:
        assert worker.wait() != 0
        assert f"{name} is read by pool " in worker.log
        assert "and chosen is 'threads'" in worker.log


def test_an_application_that_cannot_be_imported_is_not_for_spawned_children(tmp_path):
    from bootsteps import HUB, RUNNER, TIMER, KernelError, ServiceKey
    from bootsteps.testing import FakeHub, FakeTimer, make_blueprint
    from bootsteps_worker_pool_prefork.step import PreforkPool

    app = App("proj", worker_pool_start_method="spawn", worker_concurrency=1)
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer(), RUNNER: app.close}
    blueprint = make_blueprint([PreforkPool], services, app)
    with pytest.raises(KernelError, match=r"'spawn' cannot be given what they run(.|\n)*try: let the application be"):
        blueprint.apply()
