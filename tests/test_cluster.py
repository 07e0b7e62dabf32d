"""One worker of Celery's and one of ours on the same queue: they know each other, and do what the other would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import celery
import pytest

from bootsteps_tasks import App
from monitors import Monitor
from workers import WorkerProcess, until

TASKS = """

@app.task(name="proj.add")
def add(x, y):
    return x + y


@app.task(name="proj.who", bind=True)
def who(self):
    return self.request.hostname


@app.task(name="proj.nap")
def nap(seconds, mark):
    import time
    open(mark, "w").close()
    time.sleep(seconds)
"""
OURS = 'from bootsteps_tasks import App\napp = App("proj", broker={broker!r}, backend={backend!r}, {settings})\n'
THEIRS = """from celery import Celery
app = Celery("proj", broker={broker!r}, backend={backend!r})
app.conf.update({settings})
"""


class CeleryProcess(WorkerProcess):
    """`celery -A theirs worker`."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.path = folder / f"celery-{time.monotonic_ns()}.log"
        words = ["celery", "-A", "theirs", "worker", "-l", "INFO", "-c", "1", *args]
        with self.path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip


class Cluster:
    """A place where both kinds of workers can be started, and clients of both kinds."""

    def __init__(self, folder: Path, broker: str, backend: str) -> None:
        self.folder = folder
        # Remote control and events of other tests on this broker stay away.
        self.name = f"cluster{os.getpid()}x{time.monotonic_ns()}"
        settings = {
            "task_default_queue": self.name, "control_exchange": self.name, "event_exchange": f"{self.name}ev",
            "task_acks_late": True, "worker_prefetch_multiplier": 1,
        }  # fmt: skip
        facts = {"broker": broker, "backend": backend}
        facts["settings"] = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        for module, head in (("proj", OURS), ("theirs", THEIRS)):
            (folder / f"{module}.py").write_text(head.format(**facts) + TASKS)
        self.theirs = celery.Celery("proj", broker=broker, backend=backend)
        self.theirs.conf.update(settings)
        self.ours = App("proj", broker=broker, backend=backend, **settings)

    @contextmanager
    def our_worker(self, *args: str) -> Iterator[WorkerProcess]:
        yield from self._run(WorkerProcess(self.folder, "-c", "1", "-n", f"ours@{self.name}", *args))

    @contextmanager
    def their_worker(self, *args: str) -> Iterator[WorkerProcess]:
        yield from self._run(CeleryProcess(self.folder, "-n", f"theirs@{self.name}", *args))

    def _run(self, worker: WorkerProcess) -> Iterator[WorkerProcess]:
        try:
            worker.until_logged(" ready.", limit_s=60)
            yield worker
            assert worker.stop() == 0
        finally:
            if worker.process.poll() is None:
                worker.kill()


@pytest.fixture(params=["redis", "amqp"])
def cluster(request, tmp_path, redis_url) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, request.getfixturevalue(f"{request.param}_url"), redis_url)
    yield cluster
    cluster.ours.control.close()
    cluster.ours.close()
    cluster.theirs.backend.result_consumer.stop()
    cluster.theirs.close()


def revoked_by(cluster: Cluster) -> dict[str, list[str]]:
    try:
        return cluster.theirs.control.inspect(timeout=5, limit=2).revoked() or {}
    except ConnectionError:  # Celery's client keeps a connection that RabbitMQ has closed, and makes the next one anew
        return {}


def assert_known(cluster: Cluster, who: str) -> None:
    """Celery's worker says that it is ready some time before it can be asked."""
    node = f"{who}@{cluster.name}"
    until(lambda: set(revoked_by(cluster).get(node, ())) == {"early", "later"}, f"the knowledge of {node}")


def test_ours_learns_at_its_start_what_celerys_knows(cluster):
    with cluster.their_worker():

        def revoked() -> bool:
            """Tell whether it knows; it is told again, since on Redis nobody hears what came before he listened."""
            cluster.theirs.control.revoke(["early", "later"])
            return "early" in str(revoked_by(cluster))

        until(revoked, "the revoke")
        with cluster.our_worker() as ours:
            assert f"met theirs@{cluster.name}" in ours.log
            assert_known(cluster, "ours")


def test_celerys_learns_at_its_start_what_ours_knows(cluster):
    with cluster.our_worker() as ours:
        cluster.ours.revoke(["early", "later"])
        ours.until_logged("flagged as revoked")
        with cluster.their_worker() as theirs:
            assert "mingle: sync complete" in theirs.log
            assert_known(cluster, "theirs")


def test_one_that_is_alone_does_not_wait_for_others(cluster):
    with cluster.our_worker() as ours:
        assert "met no other worker" in ours.log
        (line,) = [line for line in ours.log.splitlines() if "substep ok (Mingle" in line]
        # It waits a second for those that do not answer.
        assert float(line.partition("Mingle, ")[2].partition(" ms")[0]) < 950


def test_they_hear_of_each_other_and_share_the_work(cluster):
    with cluster.their_worker() as theirs, cluster.our_worker() as ours:
        ours.until_logged(f"theirs@{cluster.name} joined")
        found = cluster.theirs.control.inspect(timeout=5, limit=2).active_queues()
        assert {node: [queue["name"] for queue in queues] for node, queues in found.items()} == {
            f"{who}@{cluster.name}": [cluster.name] for who in ("ours", "theirs")
        }
        assert sorted(cluster.ours.control.inspect(timeout=5, limit=2).ping()) == sorted(found)
        ran: set[str] = set()

        def both() -> bool:
            calls = [(cluster.ours.send_task if n % 2 else cluster.theirs.send_task)("proj.who") for n in range(20)]
            ran.update(call.get(timeout=30) for call in calls)
            return len(ran) == 2

        until(both, "work for both")
        assert ran == set(found)
    assert f"theirs@{cluster.name} left" in ours.log or theirs.process.poll() == 0
    for text in ("drift", "Traceback", "missed heartbeat", "WARNING/MainProcess] Substantial"):
        assert text not in theirs.log
    assert "missed the heartbeat" not in ours.log
    assert "Traceback" not in ours.log


def both_know(cluster: Cluster, ids: list[str]) -> bool:
    known = revoked_by(cluster)
    return len(known) == 2 and all(set(ids) <= set(each) for each in known.values())


def all_revoked(cluster: Cluster, ids: list[str]) -> bool:
    return {cluster.ours.AsyncResult(task_id).state for task_id in ids} == {"REVOKED"}


def test_a_revoke_is_honoured_by_whoever_gets_the_task(cluster):
    with cluster.their_worker(), cluster.our_worker():
        until(lambda: len(cluster.theirs.control.ping(timeout=2, limit=2)) == 2, "both")
        for client in (cluster.ours, cluster.theirs):
            ids = [f"{type(client).__name__}-{number}" for number in range(12)]
            client.control.revoke(ids)
            until(partial(both_know, cluster, ids), "the revoke")
            for task_id in ids:
                client.send_task("proj.add", (1, 1), task_id=task_id)
            until(partial(all_revoked, cluster, ids), "the results")


def test_an_election_is_won_by_one(cluster):
    """Of ours: Celery's workers may die of an election (`IndexError`) when they hear a vote before a candidate."""
    action = {"task": "proj.nap", "args": [0, str(cluster.folder / "elected")], "kwargs": {}, "options": {}}
    with cluster.our_worker() as one, cluster.our_worker("-n", f"other@{cluster.name}") as two:
        one.until_logged(f"other@{cluster.name} joined")
        two.until_logged(f"ours@{cluster.name} joined")
        for number in range(3):
            cluster.theirs.control.election(f"election-{number}", "task", action)
        for worker in (one, two):
            worker.until_logged("elected for election-", times=3)
        until(lambda: (one.log + two.log).count("succeeded") >= 3, "three runs")
        assert (one.log + two.log).count("this worker was elected") == 3
    assert (one.log + two.log).count("] received") == 3


def test_a_candidate_of_celerys_is_answered_and_may_win(cluster):
    own = f"ours@{cluster.name}"
    with cluster.our_worker() as ours, Monitor(cluster.theirs) as monitor, cluster.theirs.connection() as connection:
        theirs = cluster.theirs.events.Dispatcher(connection, hostname="theirs@far")
        theirs.send("worker-online", freq=60)
        ours.until_logged("theirs@far joined")
        theirs.clock.value = 0  # the smallest wins
        theirs.send("worker-elect", id="one", topic="task", action=None, cver=1)
        cluster.theirs.control.election("one", "task", None)
        ours.until_logged(f"theirs@far.{os.getpid()} was elected for one")
        elect = monitor.until("worker-elect", where=lambda event: event["hostname"] == own)
        fields = {"id", "topic", "action", "cver", "type", "hostname", "pid", "clock", "timestamp", "utcoffset"}
        assert elect.keys() == {*fields, "local_received"}
        ack = monitor.until("worker-elect-ack")
        assert (ack["hostname"], ack["id"]) == (own, "one")
