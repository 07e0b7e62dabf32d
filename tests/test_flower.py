"""Flower lists our workers, shows their tasks, and its buttons act on them, on Redis and RabbitMQ."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from florist import APP, Flower, running_flower
from workers import WorkerProcess, running_worker, until

pytest.importorskip("flower", reason="pip install flower")


@dataclass
class Garden:
    """A Flower, a worker of two children, and a client; all on exchanges of their own."""

    folder: Path
    url: str
    name: str
    flower: Flower
    worker: WorkerProcess
    app: App

    @property
    def node(self) -> str:
        return f"{self.name}@here"

    def send(self, task: str, *args: Any, **options: Any) -> str:
        return self.app.send_task(f"proj.{task}", args, **options).id

    def stats(self) -> Any:
        return self.flower.worker(self.node)["stats"]

    @contextmanager
    def another(self, *args: str) -> Iterator[tuple[str, WorkerProcess]]:
        """Lend the name of a further worker, which Flower sees, and its process."""
        node = f"other-{time.monotonic_ns()}@here"
        words = ("-n", node, "-Q", f"{self.name}.other", *args)
        app = (self.folder / "proj.py").read_text()
        with running_worker(self.folder, *words, app=app, broker=self.url) as worker:
            self.flower.until_online(node)
            yield node, worker


@pytest.fixture(scope="module", params=["redis", "amqp", "sqlite"])
def garden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Garden]:
    folder, name = tmp_path_factory.mktemp("garden"), f"garden-{os.getpid()}-{time.monotonic_ns()}"
    is_file = request.param == "sqlite"
    url = f"sqlite:///{folder}/broker.db" if is_file else str(request.getfixturevalue(f"{request.param}_url"))
    client = App("client", broker=url)
    client.conf.update(
        task_default_queue=name, control_exchange=name, event_exchange=f"{name}.ev", task_ignore_result=True,
        task_send_sent_event=True,
    )  # fmt: skip
    app = APP.format(broker=url, name=name)
    with running_worker(folder, "-c", "2", "-E", "-n", f"{name}@here", app=app, broker=url) as worker:
        with running_flower(folder) as flower:
            flower.until_online(f"{name}@here")
            yield Garden(folder, url, name, flower, worker, client)
        client.close()
        assert worker.stop() == 0


def test_it_lists_our_worker_with_all_that_it_asks(garden):
    found = garden.flower.worker(garden.node)
    assert set(found) == {
        *("stats", "active_queues", "registered", "scheduled", "active", "reserved", "revoked", "conf", "timestamp"),
    }
    stats = found["stats"]
    assert stats["pid"] == garden.worker.process.pid
    assert stats["pool"]["max-concurrency"] == 2
    assert sorted(stats["pool"]["processes"]) == sorted(garden.worker.children())
    assert stats["prefetch_count"] == 8
    assert stats["broker"]["transport"] in ("redis", "amqp", "sqlite")
    assert stats["rusage"]["maxrss"] > 0
    assert {"total", "clock", "uptime"} <= stats.keys()
    assert [queue["name"] for queue in found["active_queues"]] == [garden.name]
    assert found["registered"] == ["proj.add", "proj.again", "proj.fail", "proj.nap"]
    assert found["conf"]["task_default_queue"] == garden.name


def test_it_knows_how_busy_our_worker_is(garden):
    uuid = garden.send("nap", 60)
    garden.flower.task(uuid, "STARTED")
    assert [task["id"] for task in garden.flower.worker(garden.node)["active"]] == [uuid]
    later = garden.send("nap", 60, countdown=50)
    garden.flower.task(later, "RECEIVED")
    assert [task["request"]["id"] for task in garden.flower.worker(garden.node)["scheduled"]] == [later]

    def row() -> Any:
        rows = garden.flower.told("/workers", json=1)["data"]
        return next(row for row in rows if row["hostname"] == garden.node)

    until(lambda: row()["active"] == 1, "a heartbeat that tells of it")
    assert row()["status"] is True
    assert len(row()["loadavg"]) == 3
    assert row()["sw_ident"] == "py-bootsteps"
    garden.flower.press(f"/api/task/revoke/{later}")
    garden.flower.press(f"/api/task/revoke/{uuid}", terminate="true", signal="SIGKILL")
    garden.flower.task(uuid, "REVOKED")


def test_it_shows_a_task_that_succeeded(garden):
    uuid = garden.send("add", 2, 3)
    found = garden.flower.task(uuid, "SUCCESS")
    assert (found["name"], found["args"], found["kwargs"], found["result"]) == ("proj.add", "(2, 3)", "{}", "5")
    assert found["worker"] == garden.node
    assert 0 <= found["runtime"] < 5
    assert found["sent"] is not None
    assert found["received"] <= found["started"] <= found["succeeded"]
    listed = garden.flower.told("/api/tasks", state="SUCCESS", workername=garden.node, taskname="proj.add")
    assert listed[uuid]["result"] == "5"
    assert "proj.add" in garden.flower.told("/api/task/types")["task-types"]


def test_it_shows_a_task_that_failed_with_its_traceback(garden):
    found = garden.flower.task(garden.send("fail"), "FAILURE")
    assert found["exception"] == "ValueError('bad', 42)"
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert 'raise ValueError("bad", 42)' in found["traceback"]
    assert found["failed"] >= found["started"]


def test_it_shows_a_task_that_is_to_be_tried_again_and_then_is_revoked(garden):
    uuid = garden.send("again", str(garden.folder / "go"))
    found = garden.flower.task(uuid, "RETRY")
    assert "nope" in found["exception"]
    assert found["retried"] is not None
    assert garden.flower.press(f"/api/task/revoke/{uuid}") == f"Revoked '{uuid}'"
    until(lambda: uuid in garden.flower.worker(garden.node)["revoked"], "the revoke")


def test_revoke_and_terminate_act_on_our_worker(garden):
    busy = [garden.send("nap", 60) for _ in range(2)]
    for uuid in busy:
        garden.flower.task(uuid, "STARTED")
    waiting = garden.send("add", 1, 1)
    garden.flower.task(waiting, "RECEIVED")
    garden.flower.press(f"/api/task/revoke/{waiting}")
    until(lambda: waiting in garden.flower.worker(garden.node)["revoked"], "the revoke")
    for uuid in busy:
        assert garden.flower.press(f"/api/task/revoke/{uuid}", terminate="true") == f"Revoked '{uuid}'"
    ended = [garden.flower.task(uuid, "REVOKED") for uuid in busy]
    assert [task["worker"] for task in ended] == [garden.node] * 2
    assert garden.flower.task(waiting, "REVOKED")["revoked"] is not None
    assert "revoked" in garden.worker.log


def test_limits_of_a_task_are_set(garden):
    node = {"workername": garden.node}
    assert garden.flower.press("/api/task/timeout/proj.nap", hard=1, **node) == "time limits set successfully"
    found = garden.flower.task(garden.send("nap", 60), "FAILURE")
    assert "TimeLimitExceeded" in found["exception"]
    garden.flower.press("/api/task/timeout/proj.nap", soft=1, **node)
    assert "SoftTimeLimitExceeded" in garden.flower.task(garden.send("nap", 60), "FAILURE")["exception"]
    garden.flower.press("/api/task/timeout/proj.nap", **node)

    limited = "new rate limit set successfully"
    assert garden.flower.press("/api/task/rate-limit/proj.add", ratelimit="1/h", **node) == limited
    first, second = (garden.send("add", n) for n in (1, 2))
    garden.flower.task(first, "SUCCESS")
    assert garden.flower.task(second, "RECEIVED", "SUCCESS")["state"] == "RECEIVED"
    garden.flower.press("/api/task/rate-limit/proj.add", ratelimit="0", **node)
    garden.flower.task(second, "SUCCESS")
    status, text = garden.flower.ask("/api/task/rate-limit/proj.add", "POST", ratelimit="often", **node)
    assert (status, "Invalid rate limit string" in text) == (403, True)


def test_the_pool_grows_shrinks_and_is_restarted(garden):
    at = garden.node
    assert garden.flower.press(f"/api/worker/pool/grow/{at}", n=2) == f"Growing '{at}' worker's pool by 2"
    until(lambda: len(garden.worker.children()) == 4, "growing")
    assert garden.stats()["pool"]["max-concurrency"] == 4
    assert garden.stats()["prefetch_count"] == 16
    assert garden.flower.press(f"/api/worker/pool/shrink/{at}", n=2) == f"Shrinking '{at}' worker's pool by 2"
    until(lambda: len(garden.worker.children()) == 2, "shrinking")
    assert garden.stats()["pool"]["max-concurrency"] == 2
    status, text = garden.flower.ask(f"/api/worker/pool/autoscale/{at}", "POST", min=1, max=4)
    assert (status, "Autoscale not enabled" in text) == (403, True)

    before = set(garden.worker.children())
    assert garden.flower.press(f"/api/worker/pool/restart/{at}") == f"Restarting '{at}' worker's pool"
    until(lambda: len(garden.worker.children()) == 2 and not before & set(garden.worker.children()), "new children")
    garden.flower.task(garden.send("add", 1, 1), "SUCCESS")


def test_an_autoscaled_worker_takes_another_range(garden):
    with garden.another("--autoscale=2,1") as (node, worker):
        assert garden.flower.worker(node)["stats"]["autoscaler"]["max"] == 2
        message = garden.flower.press(f"/api/worker/pool/autoscale/{node}", min=3, max=5)
        assert message == f"Autoscaling '{node}' worker (min=3, max=5)"
        until(lambda: len(worker.children()) == 3, "growing")
        stats = garden.flower.worker(node)["stats"]
        assert (stats["autoscaler"]["max"], stats["autoscaler"]["min"]) == (5, 3)
        assert "autoscaler" not in garden.stats()
        status, text = garden.flower.ask(f"/api/worker/pool/grow/{node}", "POST", n=1)
        assert (status, "not supported with autoscale" in text) == (403, True)
        assert worker.stop() == 0


def test_queues_are_added_and_cancelled(garden):
    more = f"{garden.name}.more"

    def queues() -> list[str]:
        return [queue["name"] for queue in garden.flower.worker(garden.node)["active_queues"]]

    at = {"queue": more}
    assert garden.flower.press(f"/api/worker/queue/add-consumer/{garden.node}", **at) == f"add consumer {more}"
    assert queues() == [garden.name, more]
    uuid = garden.send("add", 40, 2, queue=more)
    # Who sends tells of the key, and may be heard after the worker.
    until(lambda: garden.flower.task(uuid, "SUCCESS")["routing_key"] == more, "told where it was sent")
    message = garden.flower.press(f"/api/worker/queue/cancel-consumer/{garden.node}", **at)
    assert message == f"no longer consuming from {more}"
    assert queues() == [garden.name]


def test_shutdown_ends_our_worker_and_it_is_shown_offline(garden):
    with garden.another("-c", "1") as (node, worker):
        assert garden.flower.press(f"/api/worker/shutdown/{node}") == "Shutting down!"
        assert worker.wait() == 0
        until(lambda: garden.flower.told("/api/workers", status=1).get(node) is not True, "being seen offline")


def test_its_pages_show_our_worker_and_its_tasks(garden):
    uuid = garden.send("add", 20, 22)
    garden.flower.task(uuid, "SUCCESS")
    assert garden.node in garden.flower.page("/workers")
    page = garden.flower.page(f"/worker/{garden.node}")
    for text in (str(garden.worker.process.pid), garden.name, "proj.again", "max-concurrency", "task_default_queue"):
        assert text.lower().replace("-", " ") in page.lower().replace("-", " "), text
    assert "Tasks" in garden.flower.page("/tasks")
    page = garden.flower.page(f"/task/{uuid}")
    for text in ("proj.add", "(20, 22)", "42", garden.node):
        assert text in page
    if garden.url.startswith("redis"):  # of RabbitMQ it asks the management plugin, and knows no other
        assert garden.name in garden.flower.page("/broker")
        lengths = garden.flower.told("/api/queues/length")["active_queues"]
        assert {"name": garden.name, "messages": 0} in lengths
    elif garden.url.startswith("amqp"):
        assert "Broker" in garden.flower.page("/broker")
    assert f'worker="{garden.node}"' in garden.flower.page("/metrics")
