"""Whole workers on our RabbitMQ transport: killed, thrown out by the broker, beside Celery, with tasks for later."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection

from bootsteps_tasks import App
from cable import Cable
from services import ServerMissing, rabbitmq_server, rabbitmqctl
from workers import LIMIT_S, WorkerProcess, running_worker, until

pytest.importorskip("bootsteps_transport_amqp")

APP = """
    import os, time
    from bootsteps_tasks import App
    app = App("proj", task_default_queue={name!r}, task_default_queue_type={type!r}, control_exchange={name!r},
              event_exchange={name!r} + ".events", task_ignore_result=True,
              **{{"worker_redelivered_limit": 1000, **{settings!r}}})

    def done(file, value):
        with open({folder!r} + "/" + file, "a") as found:
            found.write(f"{{value}}\\n")

    @app.task
    def mark(number):
        done("marks", number)

    @app.task
    def nap(seconds):
        done("naps", os.getpid())
        time.sleep(seconds)
        done("ends", os.getpid())
"""


class Place:
    """A queue of the test's own, an application on it, and what its tasks wrote down."""

    def __init__(self, url: str, folder: Path, type_: str = "classic", **settings: Any) -> None:
        self.url = url
        self.name = f"amqp-{os.getpid()}-{uuid4().hex[:8]}"
        self.folder = folder
        self.text = APP.format(name=self.name, type=type_, folder=str(folder), settings=settings)
        self.client = App(
            "proj", broker=url, task_default_queue=self.name, task_default_queue_type=type_, task_ignore_result=True,
            **settings,
        )  # fmt: skip

    def lines(self, file: str) -> list[str]:
        path = self.folder / file
        return path.read_text().split() if path.exists() else []

    def ready(self) -> int:
        """How many messages nobody holds."""
        with Connection(self.url) as connection:
            return int(connection.channel().queue_declare(self.name, passive=True).message_count)

    def delete(self) -> None:
        self.client.close()
        with Connection(self.url) as connection:
            connection.channel().queue_delete(self.name)


@pytest.fixture
def place(amqp_url: str, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(*args: Any, url: str = amqp_url, **settings: Any) -> Place:
        made.append(Place(url, tmp_path, *args, **settings))
        return made[-1]

    yield make
    for found in made:
        found.delete()


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("type_", ["classic", "quorum"])
def test_tasks_for_later_wait_in_rabbitmq_and_run_on_time(
    tmp_path: Path, amqp_url: str, place: Callable[..., Place], type_: str
) -> None:
    here = place(type_, worker_eta_horizon=2.0)
    with running_worker(tmp_path, "-c", "1", app=here.text, broker=amqp_url) as worker:
        here.client.send_task("proj.mark", (0,))
        until(lambda: here.lines("marks") == ["0"], "the first task")
        # One that a plain client has sent, so that the worker sees it first; and some of ours.
        due = time.time() + 6
        with closing(App("proj", broker=amqp_url, task_default_queue=here.name, task_default_queue_type=type_,
                         worker_eta_horizon=1e9)) as plain:  # fmt: skip
            plain.send_task("proj.mark", (1,), countdown=6)
            plain.send_many(("proj.mark", (9,), {}, {"countdown": 3600}) for _ in range(300))
        worker.until_logged("waits in the broker for its ETA", times=301)
        here.client.send_task("proj.mark", (2,), countdown=due - time.time())
        before = resident_kb(worker.process.pid)
        here.client.send_many(("proj.mark", (9,), {}, {"countdown": 3600}) for _ in range(3000))
        assert here.ready() == 0
        assert worker.log.count("received") < 10, "they are held in the worker"
        until(lambda: len(here.lines("marks")) == 3, "the tasks whose time has come", limit_s=LIMIT_S + 6)
        assert time.time() >= due - 0.1
        assert set(here.lines("marks")) == {"0", "1", "2"}
        assert resident_kb(worker.process.pid) - before < 8_000
        assert worker.stop() == 0
    assert here.ready() == 0


def test_a_celery_worker_runs_what_waited(tmp_path: Path, amqp_url: str, place: Callable[..., Place]) -> None:
    here = place(worker_eta_horizon=1.0)
    here.client.send_task("proj.mark", (5,), countdown=3)
    assert here.ready() == 0
    (tmp_path / "peer.py").write_text(
        textwrap.dedent(f"""
        from celery import Celery
        app = Celery("proj", broker={amqp_url!r})
        app.conf.update(task_default_queue={here.name!r}, task_ignore_result=True)

        @app.task(name="proj.mark")
        def mark(number):
            with open({str(tmp_path / "marks")!r}, "a") as found:
                found.write(f"{{number}}\\n")
    """)
    )
    words = ["-A", "peer", "worker", "-P", "solo", "--without-gossip", "--without-mingle"]
    with (tmp_path / "peer.log").open("w") as log:
        peer = subprocess.Popen([sys.executable, "-m", "celery", *words], cwd=tmp_path, stdout=log, stderr=log)
        try:
            until(lambda: here.lines("marks") == ["5"], "Celery's run", limit_s=60)
            until(lambda: here.ready() == 0)
        finally:
            peer.send_signal(signal.SIGTERM)
            peer.wait(LIMIT_S)


def test_a_broker_that_loses_patience_with_a_long_task_stops_nobody(tmp_path: Path) -> None:
    """RabbitMQ closes the channel of a consumer that has not acknowledged a delivery for `consumer_timeout`."""
    server = tmp_path / "server"
    server.mkdir()
    try:
        node = rabbitmq_server(server, "-rabbit consumer_timeout 4000 -rabbit channel_tick_interval 1000")
        url = node.__enter__()
    except ServerMissing as exc:
        pytest.skip(str(exc))
    try:
        here = Place(url, tmp_path)
        with closing(here.client), running_worker(tmp_path, "-c", "2", app=here.text, broker=url) as worker:
            here.client.send_task("proj.nap", (7,))
            worker.until_logged("PRECONDITION_FAILED")
            worker.until_logged("consuming from", times=2)
            here.client.send_task("proj.mark", (1,))
            # The long one was put back at the front of the queue, so it was delivered again before this one.
            until(lambda: here.lines("marks") == ["1"], "another task meanwhile")
            until(lambda: len(here.lines("ends")) == 1, "the end of the long task")
            worker.until_logged("succeeded", times=2)
            assert worker.stop() == 0
        assert len(here.lines("naps")) == 1, "it ran twice"
        assert here.ready() == 0, "it is still there"
    finally:
        node.__exit__(None, None, None)


def test_killing_workers_and_children_loses_none_of_20000_tasks(place: Callable[..., Place]) -> None:
    here, total = place(), 20_000
    here.client.send_many(("proj.mark", (number,), {}, {}) for number in range(total))

    def wait_for(wanted: int) -> None:
        until(lambda: len(set(here.lines("marks"))) >= wanted, f"{wanted} tasks", limit_s=60)

    for killed in range(1, 5):
        with worker_on(here, f"killed-{killed}") as worker:
            wait_for(4000 * killed - 2000)
            os.kill(worker.children()[0], signal.SIGKILL)
            wait_for(4000 * killed)
            worker.kill()
    with worker_on(here, "last") as worker:
        wait_for(total)
        until(lambda: here.ready() == 0, "what was run and not acknowledged comes once more")
        assert worker.stop() == 0
    assert set(here.lines("marks")) == set(map(str, range(total)))
    assert here.ready() == 0


@pytest.mark.parametrize("type_", ["classic", "quorum"])
def test_tasks_that_wait_for_their_eta_in_the_worker_keep_none_from_it(place: Callable[..., Place], type_: str) -> None:
    """Their ETA is near, so they are held here, more of them than the prefetch limit was."""
    here = place(type_)
    with worker_on(here, "worker"):
        for number in range(60):
            here.client.send_task("proj.mark", (number,), countdown=40)
        here.client.send_task("proj.mark", ("now",))
        until(lambda: here.lines("marks") == ["now"], "the task without an ETA", limit_s=20)


def test_a_quorum_queue_counts_the_attempts_itself(place: Callable[..., Place]) -> None:
    here = place("quorum", worker_redelivered_limit=1)
    here.client.send_task("proj.nap", (60,))
    for number in (1, 2):
        with worker_on(here, f"killed-{number}") as worker:
            until(lambda wanted=number: len(here.lines("naps")) == wanted, "its start")  # type: ignore[misc]
            assert "published with this count" not in worker.log, "a copy was made only to count"
            worker.kill()
    with worker_on(here, "last") as worker:
        worker.until_logged("is in quarantine")
        assert worker.stop() == 0
    assert len(here.lines("naps")) == 2
    with Connection(here.url) as connection:
        assert connection.channel().queue_delete(f"{here.name}.quarantine") == 1


PUBLISHER = """
import sys
from bootsteps_tasks import App
app = App("proj", broker=sys.argv[1], task_default_queue="proj", task_ignore_result=True)
app.send_task("proj.mark", (0,))
print("connected", flush=True)
sys.stdin.readline()
for number in range(2000):
    app.send_task("proj.mark", ("x" * 2000,))
    print("sent", flush=True)
"""


def test_a_client_whose_broker_is_short_of_memory_waits_and_loses_nothing(tmp_path: Path) -> None:
    """py-amqp gives the connection up after a second; and a process that just ends leaves what was not read."""
    try:
        node = rabbitmq_server(tmp_path)
        url = node.__enter__()
        rabbitmqctl(url, "list_connections", "state")
    except ServerMissing as exc:
        pytest.skip(str(exc))
    try:
        words = [sys.executable, "-c", PUBLISHER, url]
        told = tmp_path / "told"
        with told.open("w") as file:
            client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=file, text=True)
        assert client.stdin is not None
        until(lambda: told.read_text() == "connected\n", "the client's connection")
        rabbitmqctl(url, "set_vm_memory_high_watermark", "absolute", "1")
        client.stdin.write("now\n")
        client.stdin.flush()
        until(lambda: "blocked" in rabbitmqctl(url, "list_connections", "state"), "that it is blocked")
        until(lambda: "blocked" in rabbitmqctl(url, "list_connections", "state"), "that it still is")
        assert told.read_text().count("sent") < 200, "it wrote on to a broker that reads nothing"
        rabbitmqctl(url, "set_vm_memory_high_watermark", "absolute", "512MB")
        assert client.wait(60) == 0
        client.stdin.close()
        with Connection(url) as connection:
            channel = connection.channel()
            until(lambda: channel.queue_declare("proj", passive=True).message_count == 2001, "all messages")

        def logged() -> str:
            return "".join(path.read_text() for path in (tmp_path / "log").glob("*.log"))

        def clients() -> list[str]:
            """Those that introduced themselves; somebody asks whether it is up, and just hangs up."""
            return re.findall(r"connection (<[\d.]+>) .* authenticated", logged())

        def gone() -> bool:
            return len(clients()) == 2 and all(f"closing AMQP connection {pid}" in logged() for pid in clients())

        until(gone, "the end of the client's connection and of ours")
        assert not [pid for pid in clients() if f"{pid} client unexpectedly closed" in logged()], "no goodbye"
    finally:
        node.__exit__(None, None, None)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_message_on_a_dead_connection_is_sent_again_if_confirmations_are_wanted(
    amqp_url: str, place: Callable[..., Place], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bootsteps_tasks import publisher
    from bootsteps_transport_amqp import channel

    monkeypatch.setattr(channel, "SILENT_S", 1.0)
    monkeypatch.setattr(publisher, "FAREWELL_S", 1.0)
    cable = Cable(amqp_url)
    here = place(broker_transport_options={"confirm_publish": wanted}, url=cable.url)
    here.client.send_task("proj.mark", (1,))
    until(lambda: here.ready() == 1, "the first message")
    cable.swallow(new=False)
    here.client.send_task("proj.mark", (2,))
    if wanted:
        assert here.ready() == 2
    else:  # as with Celery's default: nobody asks what became of it
        here.client.close()
        here.client.send_task("proj.mark", (3,))
        until(lambda: here.ready() == 2, "the third message")


def worker_on(here: Place, folder: str) -> AbstractContextManager[WorkerProcess]:
    (here.folder / folder).mkdir()
    return running_worker(here.folder / folder, "-c", "2", app=here.text, broker=here.url)
