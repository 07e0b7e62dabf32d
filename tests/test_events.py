"""Events: Celery's own monitors hear of our workers what they hear of Celery's, on Redis and RabbitMQ."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu.exceptions import EncodeError

from bootsteps.testing import FakeHub, FakeTimer
from bootsteps_consumer_events.outlet import LISTEN_AGAIN_S, WAIT_S, Outlet
from bootsteps_tasks import App
from cable import Cable
from monitors import Monitor, celery_worker, our_worker
from workers import until

celery = pytest.importorskip("celery")

FINAL = ("task-succeeded", "task-failed", "task-rejected", "task-revoked")


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def name() -> str:
    return f"events-{os.getpid()}-{time.monotonic_ns()}"


def client_of(url: str, name: str, **settings: Any) -> Any:
    app = celery.Celery("client", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=name, control_exchange=name, event_exchange=f"{name}.ev", broker_pool_limit=None, **settings
    )
    return app


@pytest.fixture
def client(url: str, name: str) -> Iterator[Any]:
    app = client_of(url, name, task_send_sent_event=True)
    yield app
    app.close()


def scenario(monitor: Monitor, client: Any) -> dict[str, list[dict[str, Any]]]:
    """Let a worker do one of each; return the events by what was done."""
    ids = {}

    def do(task: str, *args: Any, final: tuple[str, ...] = FINAL, **options: Any) -> None:
        ids[task] = client.send_task(f"proj.{task.partition(' ')[0]}", args, **options).id
        monitor.until(*final, uuid=ids[task])

    do("add", 2, 3)
    do("fail")
    do("again")
    do("tell")
    do("reject", final=("task-rejected",))
    do("add expired", 1, 1, expires=0.3, countdown=0.8)
    unwanted = str(uuid4())
    client.control.revoke(unwanted, reply=True, timeout=10, limit=1)
    do("add revoked", 1, 1, task_id=unwanted)
    do("nap", 60, final=("task-started",))
    client.control.revoke(ids["nap"], terminate=True, signal="SIGKILL")
    monitor.until("task-revoked", uuid=ids["nap"])
    monitor.until("worker-heartbeat")
    return {task: monitor.of(uuid) for task, uuid in ids.items()}


def heard_of(kind: Any, folder: Path, url: str, name: str) -> tuple[dict[str, list[dict[str, Any]]], Monitor]:
    """Let a worker of this kind do everything while Celery's monitor listens."""
    client = client_of(url, name, task_send_sent_event=True)
    with Monitor(client) as monitor, kind(folder, url, name, "-E"):
        found = scenario(monitor, client)
    client.close()
    return found, monitor


def test_a_celery_monitor_hears_of_our_worker_what_it_hears_of_a_celery_worker(tmp_path, url, name):
    ours, ours_all = heard_of(our_worker, tmp_path / "ours", url, f"{name}-o")
    theirs, theirs_all = heard_of(celery_worker, tmp_path / "theirs", url, f"{name}-t")

    assert {task: told(events) for task, events in ours.items()} == {t: told(events) for t, events in theirs.items()}
    for kind in ("worker-online", "worker-heartbeat", "worker-offline"):
        assert fields_of(kind, ours_all) == fields_of(kind, theirs_all)


#: Values that differ from run to run.
VOLATILE = {
    *("hostname", "pid", "clock", "timestamp", "local_received", "uuid", "root_id", "parent_id", "runtime"),
    *("traceback", "eta", "expires", "queue", "exchange", "routing_key"),
}


def told(events: list[dict[str, Any]]) -> list[Any]:
    """What events of a task say, without what must differ; a retry's message may be received before it is told of."""
    found = [{name: None if name in VOLATILE else value for name, value in event.items()} for event in events]
    for event in found:
        if str(event.get("exception")).lower().startswith("reject"):
            event["exception"] = "Reject"  # its repr differs
    return sorted(found, key=lambda event: json.dumps(event, sort_keys=True))


def fields_of(kind: str, monitor: Monitor) -> set[str]:
    return {field for event in monitor.events if event["type"] == kind for field in event}


def test_the_events_of_a_task_come_in_order_and_with_times_that_fit(tmp_path, url, name, client):
    with Monitor(client) as monitor, our_worker(tmp_path, url, name, "-E"):
        long, short = (client.send_task("proj.nap", (seconds,)).id for seconds in (0.5, 0))
        began = monitor.until("task-started", uuid=long)
        assert monitor.types(long)[-1] == "task-started"  # told while it runs
        monitor.until("task-succeeded", uuid=short)
        for uuid in (long, short):
            of_worker = [event for event in monitor.of(uuid) if event["type"] != "task-sent"]
            assert [event["type"] for event in of_worker] == ["task-received", "task-started", "task-succeeded"]
            assert sorted(event["clock"] for event in of_worker) == [event["clock"] for event in of_worker]
            times = [event["timestamp"] for event in of_worker]
            assert times == sorted(times)
        ended = monitor.of(long)[-1]
        assert 0.4 < ended["timestamp"] - began["timestamp"] < 2
        assert 0.4 < ended["runtime"] < 2


def test_events_of_tasks_are_switched_on_and_off_while_the_worker_runs(tmp_path, url, name, client):
    def ask(command: str) -> Any:
        return client.control.broadcast(command, reply=True, timeout=10, limit=1)[0][f"{name}@here"]

    with Monitor(client) as monitor, our_worker(tmp_path, url, name):
        monitor.until("worker-heartbeat")
        silent = client.send_task("proj.add", (1, 1))
        loud_when_on = ask("enable_events"), ask("enable_events")
        assert loud_when_on == ({"ok": "task events enabled"}, {"ok": "task events already enabled"})
        heard = client.send_task("proj.add", (2, 2))
        quiet = client.send_task("proj.quiet")
        monitor.until("task-succeeded", uuid=heard.id)
        assert ask("disable_events") == {"ok": "task events disabled"}
        assert ask("disable_events") == {"ok": "task events already disabled"}
        last = client.send_task("proj.add", (3, 3))
        monitor.until("worker-heartbeat", where=lambda event: event["processed"] == 4)
        for uuid in (silent.id, quiet.id, last.id):
            assert monitor.types(uuid) == ["task-sent"]


def test_events_that_were_on_from_the_start_can_be_switched_off(tmp_path, url, name, client):
    with Monitor(client) as monitor, our_worker(tmp_path, url, name, "-E"):
        monitor.until("worker-online", "worker-heartbeat")
        replies = client.control.broadcast("disable_events", reply=True, timeout=10, limit=1)
        assert replies == [{f"{name}@here": {"ok": "task events disabled"}}]
        task = client.send_task("proj.add", (1, 1))
        monitor.until("worker-heartbeat", where=lambda event: event["processed"] == 1)
        assert monitor.types(task.id) == ["task-sent"]


def test_events_of_tasks_rest_while_nobody_listens_and_go_on_when_a_monitor_comes(redis_url, name):
    pytest.importorskip("bootsteps_transport_redis")
    ours = App("mine", broker=redis_url, event_exchange=f"{name}.ev", control_exchange=name)
    hub, timer = FakeHub(), FakeTimer()
    dispatcher = ours.events.Dispatcher(hostname="w@h", buffer_group=("task",))
    outlet = Outlet(ours, dispatcher, hub, timer)
    outlet.open()

    def tell(uuid: str) -> None:
        dispatcher.send("task-foo", uuid=uuid)
        hub.run_once()  # sends it
        hub.run_once()

    tell("1")
    assert dispatcher.wants("task")
    assert not dispatcher.sends("task")
    assert dispatcher.sends("worker")
    tell("2")
    timer.advance(LISTEN_AGAIN_S)
    assert dispatcher.sends("task")
    with Monitor(ours, wakeup=False) as monitor:
        tell("3")
        monitor.until("task-foo", uuid="3")
        assert dispatcher.sends("task")
        assert monitor.of("1") == monitor.of("2") == []
    tell("4")
    assert not dispatcher.sends("task")
    dispatcher.wake()
    assert dispatcher.sends("task")
    outlet.close(flush=True)
    assert timer.pending == 0


def test_a_monitor_that_comes_late_wakes_a_worker_that_nobody_listened_to(tmp_path, url, name, client):
    with our_worker(tmp_path, url, name, "-E") as worker:
        client.send_task("proj.add", (1, 1))
        worker.until_logged("succeeded")
        with Monitor(client) as monitor:
            monitor.until("worker-heartbeat")
            task = client.send_task("proj.add", (2, 2))
            monitor.until("task-succeeded", uuid=task.id)
            assert "task-received" in monitor.types(task.id)


def test_heartbeats_come_as_often_as_they_say_and_on_demand(tmp_path, url, name, client):
    with Monitor(client) as monitor, our_worker(tmp_path, url, name, "--heartbeat-interval", "0.3"):
        until(lambda: sum(event["type"] == "worker-heartbeat" for event in monitor.events) >= 4, "four beats")
        beats = [event for event in monitor.events if event["type"] == "worker-heartbeat" and event["freq"] == 0.3]
        gaps = [after["timestamp"] - before["timestamp"] for before, after in itertools.pairwise(beats)]
        assert all(0.2 < gap < 3 for gap in gaps)
        client.control.broadcast("heartbeat")
        monitor.until("worker-heartbeat", where=lambda event: event["freq"] == 5)
    with Monitor(client) as monitor, our_worker(tmp_path, url, name, "--heartbeat-interval", "60") as worker:
        assert monitor.until("worker-online", "worker-heartbeat")["freq"] in (60, 5)
        assert worker.stop() == 0
        monitor.until("worker-offline")


def test_events_of_an_outage_are_sent_when_it_is_over(tmp_path, url, name, client):
    cable = Cable(url)
    with Monitor(client) as monitor, our_worker(tmp_path, cable.url, name, "-E") as worker:
        nap = client.send_task("proj.nap", (1.5,))
        began = monitor.until("task-started", uuid=nap.id)
        cable.cut()
        worker.until_logged("cannot connect to")
        worker.until_logged("succeeded")
        assert monitor.types(nap.id)[-1] == "task-started"
        cable.mend()
        ended = monitor.until("task-succeeded", uuid=nap.id)
        assert 1 < ended["timestamp"] - began["timestamp"] < 3  # when it ended, not when it was told
        monitor.until("worker-online", where=lambda event: event["timestamp"] > ended["timestamp"])
        assert not [event for event in monitor.events if event["type"] == "worker-offline"]


def test_a_broker_that_swallows_everything_stops_the_loop_for_two_seconds_and_loses_nothing(url, name):
    ours, cable = App("mine", broker=url, event_exchange=f"{name}.ev", control_exchange=name), Cable(url)
    worker = App("mine", broker=cable.url, event_exchange=f"{name}.ev")
    hub, timer = FakeHub(), FakeTimer()
    dispatcher = worker.events.Dispatcher(hostname="w@h", buffer_group=("task",))
    outlet = Outlet(worker, dispatcher, hub, timer)
    with Monitor(ours) as monitor:
        outlet.open()
        dispatcher.send("worker-online")
        monitor.until("worker-online")
        cable.swallow()
        began = time.monotonic()
        for number in range(50):  # more than the sockets hold
            dispatcher.send("task-large", uuid=str(number), text="x" * 1_000_000)
            hub.run_once()
        assert time.monotonic() - began < 2 * WAIT_S
        cable.cut()
        cable.mend()

        def came() -> bool:
            """A thread finds out that the broker is back, and tells the loop."""
            timer.advance(1)
            hub.run_once()
            return bool(monitor.of("49"))

        until(came, "the last event")
        outlet.close(flush=True)
    assert timer.pending == 0


def test_without_heartbeat_a_worker_tells_of_its_tasks_only(tmp_path, url, name, client):
    with Monitor(client) as monitor, our_worker(tmp_path, url, name, "-E", "--without-heartbeat"):
        task = client.send_task("proj.add", (1, 1))
        monitor.until("task-succeeded", uuid=task.id)
        reply = client.control.broadcast("heartbeat", reply=True, timeout=10, limit=1)[0][f"{name}@here"]
        assert "error" in reply
        assert not [event for event in monitor.events if event["type"].startswith("worker-")]


def test_our_monitor_reads_a_celery_worker_and_knows_the_state_of_all(tmp_path, url, name, client):
    ours = App("mine", broker=url, control_exchange=name, event_exchange=f"{name}.ev", task_default_queue=name)
    state = ours.events.State()
    with Monitor(ours) as monitor, celery_worker(tmp_path, url, name, "-E"):
        found = scenario(monitor, client)
        for event in list(monitor.events):
            state.event(event)
        states = {task: state.tasks[events[0]["uuid"]].state for task, events in found.items()}
        assert states == {
            "add": "SUCCESS", "fail": "FAILURE", "again": "SUCCESS", "tell": "SUCCESS", "reject": "FAILURE",
            "add expired": "REVOKED", "add revoked": "REVOKED", "nap": "REVOKED",
        }  # fmt: skip
        done = state.tasks[found["add"][0]["uuid"]]
        assert (done.name, done.args, done.result, done.worker.hostname) == ("proj.add", "(2, 3)", "5", f"{name}@here")
        assert done.runtime is not None
        assert done.received <= done.started <= done.succeeded
        assert "ValueError" in state.tasks[found["fail"][0]["uuid"]].traceback
        assert [worker.hostname for worker in state.alive_workers()] == [f"{name}@here"]
        assert state.workers[f"{name}@here"].sw_ident == "py-celery"


def test_the_dumps_of_celery_and_ours_show_the_same_events(tmp_path, url, name, client):
    theirs_log, ours_log, json_log = (tmp_path / f"{kind}.log" for kind in ("theirs", "ours", "json"))
    (tmp_path / "theirs.py").write_text(
        f"from celery import Celery\napp = Celery('t', broker={url!r})\n"
        f"app.conf.update(event_exchange='{name}.ev', control_exchange='{name}')\n"
    )
    with our_worker(tmp_path, url, name, "-E"), ExitStack() as stack:
        for words, log in (
            (("celery", "-A", "theirs", "events", "--dump"), theirs_log),
            (("bootsteps", "-A", "proj", "events", "--dump"), ours_log),
            (("bootsteps", "-A", "proj", "events", "--json"), json_log),
        ):
            stack.enter_context(running(tmp_path, log, *words))
            until_written(log, "heartbeat")
        task = client.send_task("proj.add", (2, 3))
        for log in (theirs_log, ours_log, json_log):
            until_written(log, "succeeded")
        assert f"proj.add({task.id}) args=(2, 3) kwargs={{}}" in theirs_log.read_text()
        assert f"task-received proj.add[{task.id}] args=(2, 3)" in ours_log.read_text()
        assert f"task-succeeded proj.add[{task.id}] result=5" in ours_log.read_text()
        read = [json.loads(line) for line in json_log.read_text().splitlines()]
        assert "task-succeeded" in {event["type"] for event in read if event.get("uuid") == task.id}


def test_a_reader_who_has_enough_ends_the_stream_in_silence(tmp_path, url, name):
    env = dict(os.environ, PYTHONPATH=str(tmp_path))
    words = [sys.executable, "-m", "bootsteps", "-A", "proj", "events", "--json"]
    with our_worker(tmp_path, url, name):
        stream = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert stream.stdout is not None
            assert json.loads(stream.stdout.readline())["type"]
            stream.stdout.close()  # as `head -1` does
            assert stream.wait(30) == 1
            assert stream.stderr is not None
            assert stream.stderr.read() == b""
        finally:
            stream.kill()
            stream.wait()


def until_written(log: Path, text: str) -> None:
    until(lambda: text in log.read_text(), f"{text!r} in {log.name}")


@contextmanager
def running(folder: Path, log: Path, *words: str) -> Iterator[None]:
    env = dict(os.environ, PYTHONPATH=str(folder), PYTHONUNBUFFERED="1")
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", *words], cwd=folder, env=env, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_our_clients_tell_what_they_send_as_celery_s_do(url, name, client):
    ours = App(
        "mine", broker=url, event_exchange=f"{name}.ev", task_default_queue=name, task_send_sent_event=True,
        control_exchange=name,
    )  # fmt: skip

    @ours.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    with Monitor(client) as monitor:
        for uuid, send in (("ours", add.apply_async), ("theirs", client.signature("proj.add").apply_async)):
            send((1, 2), task_id=f"{name}-{uuid}", countdown=60, expires=120)
            monitor.until("task-sent", uuid=f"{name}-{uuid}")
        found = {uuid: monitor.of(f"{name}-{uuid}")[0] for uuid in ("ours", "theirs")}
    assert found["ours"].keys() == found["theirs"].keys()
    for field in ("args", "kwargs", "retries", "queue", "exchange", "routing_key", "name", "parent_id", "utcoffset"):
        assert found["ours"][field] == found["theirs"][field]
    ours.close()


def test_an_event_that_cannot_be_sent_fails_no_task_and_no_sender(tmp_path, redis_url, name, caplog):
    cable = Cable(redis_url)
    ours = App("mine", broker=cable.url, event_exchange=f"{name}.ev")
    ours.events.tell("task-progress", {"uuid": "1"})
    cable.cut()
    ours.events.tell("task-progress", {"uuid": "2"})
    assert "the event task-progress could not be sent" in caplog.text
    cable.mend()
    with pytest.raises(EncodeError):
        ours.events.tell("task-progress", {"uuid": object()})
    ours.close()


def test_what_runs_at_a_cold_shutdown_is_told_to_be_cancelled(tmp_path, url, name, client):
    with Monitor(client) as monitor, our_worker(tmp_path, url, name, "-E") as worker:
        nap = client.send_task("proj.nap", (60,))
        monitor.until("task-started", uuid=nap.id)
        worker.signal(signal.SIGQUIT)
        monitor.until("task-cancelled", uuid=nap.id)
        monitor.until("worker-offline")
        worker.wait()


CAMERA = """
from bootsteps_consumer_events.camera import Polaroid

class Camera(Polaroid):
    def on_shutter(self, state):
        print("picture:", sorted(state.workers), flush=True)
"""


def test_a_camera_sees_the_cluster_again_and_again(tmp_path, redis_url, name):
    (tmp_path / "film.py").write_text(CAMERA)
    log = tmp_path / "camera.log"
    words = ("bootsteps", "-A", "proj", "events", "--camera", "film:Camera", "-F", "0.2")
    with our_worker(tmp_path, redis_url, name), running(tmp_path, log, *words):
        until(lambda: log.read_text().count(f"picture: ['{name}@here']") >= 2, "two pictures")


def test_a_camera_that_is_none_is_an_error_that_says_what_to_do(tmp_path, redis_url, name):
    with our_worker(tmp_path, redis_url, name):
        words = [sys.executable, "-m", "bootsteps", "-A", "proj", "events", "--camera", "nothing:Camera"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "there is no camera 'nothing:Camera'" in done.stderr
    assert "MODULE:CLASS" in done.stderr
