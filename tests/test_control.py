"""Remote control: Celery's clients, its command line and ours tell a real worker what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Exchange

from bootsteps_tasks import App
from bootsteps_tasks.control import broadcast
from cable import Cable
from test_reconnect import Redis
from workers import running_worker, until

celery = pytest.importorskip("celery")
pytest.importorskip("sqlalchemy")


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def name() -> str:
    """Of the queue, of the exchanges of remote control and of the node: one server serves all tests."""
    return f"control-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def client(url: str, tmp_path: Path, name: str) -> Iterator[Any]:
    results = tmp_path / "state" / "bootsteps" / "proj" / "results.db"
    results.parent.mkdir(parents=True)
    app = celery.Celery("client", broker=url, backend=f"db+sqlite:///{results}", control_exchange=name)
    # A pooled connection that lay idle since another test may be closed by the server.
    app.conf.update(broker_pool_limit=None)
    yield app
    app.close()


APP = """
    import time
    from bootsteps import control_command, inspect_command
    from bootsteps_tasks import App
    app = App("proj", control_exchange={name!r}, result_expires=3600, task_default_queue={name!r})

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def nap(seconds, mark):
        open(mark, "a").write("ran ")
        time.sleep(seconds)

    @inspect_command()
    def current_prefetch_count(state):
        return {{"prefetch_count": state.consumer.qos.value, "node": state.hostname}}

    @control_command(args=[("n", int)], signature="[N=1]")
    def increase_prefetch_count(state, n=1):
        state.consumer.qos.increment_eventually(n)
        return {{"ok": "prefetch count incremented"}}

    @control_command()
    def broken(state):
        raise RuntimeError("no")
"""


def test_a_celery_client_pings_and_gets_errors_as_celery_sends_them(tmp_path, url, name, client):
    node = f"{name}@here"
    with running_worker(tmp_path, "-c", "1", "-n", node, app=APP.format(name=name), broker=url) as worker:
        worker.until_logged("the mailbox is open")

        def ask(command: str, **arguments: Any) -> Any:
            replies = client.control.broadcast(command, arguments, reply=True, destination=[node], timeout=10, limit=1)
            return replies[0][node]

        assert client.control.ping(timeout=10, limit=1) == [{node: {"ok": "pong"}}]
        assert client.control.ping(timeout=0.3, destination=["w@elsewhere"]) == []
        assert client.control.broadcast("ping", pattern="control-*", matcher="glob", reply=True, limit=1, timeout=10)
        assert ask("current_prefetch_count") == {"prefetch_count": 4, "node": node}
        assert ask("increase_prefetch_count", n=2) == {"ok": "prefetch count incremented"}
        until(lambda: ask("current_prefetch_count")["prefetch_count"] == 6)
        assert ask("broken") == {"error": "RuntimeError('no')"}
        assert ask("nonesuch") == {"error": "KeyError('nonesuch')"}
        assert "unexpected keyword argument" in ask("current_prefetch_count", some="thing")["error"]
        assert ask("rate_limit", task_name="proj.add", rate_limit="10/m") == {"ok": "new rate limit set successfully"}
        assert ask("rate_limit", task_name="proj.add", rate_limit=None) == {"ok": "rate limit disabled successfully"}
        assert ask("rate_limit", task_name="proj.nobody", rate_limit="1/s") == {"error": "unknown task"}
        assert ask("time_limit", task_name="proj.nap", hard=0.5) == {"ok": "time limits set successfully"}
        with pytest.raises(Exception, match=r"0\.5"):
            client.send_task("proj.nap", (60, str(tmp_path / "mark")), queue=name).get(timeout=20)
        assert client.send_task("proj.add", (1, 2), queue=name).get(timeout=20) == 3
        assert worker.stop() == 0


def test_a_celery_client_grows_and_shrinks_the_pool_while_it_is_busy(tmp_path, url, name, client):
    pytest.importorskip("bootsteps_worker_pool_prefork")
    node, marks = f"{name}@here", [tmp_path / f"mark{number}" for number in range(3)]
    with running_worker(tmp_path, "-c", "1", "-n", node, app=APP.format(name=name), broker=url) as worker:
        worker.until_logged("the mailbox is open")

        def ask(command: str, **arguments: Any) -> Any:
            return client.control.broadcast(command, arguments, reply=True, destination=[node], timeout=10, limit=1)[0][
                node
            ]

        naps = [client.send_task("proj.nap", (60, str(mark)), queue=name) for mark in marks]
        until(marks[0].exists, "the first nap")
        assert ask("ping") == {"ok": "pong"}  # while every child is busy
        assert not marks[1].exists()
        assert ask("pool_grow", n=2) == {"ok": "pool will grow"}
        until(lambda: all(mark.exists() for mark in marks), "all naps")
        assert ask("current_prefetch_count")["prefetch_count"] == 12
        assert ask("pool_shrink", n=1) == {"ok": "pool will shrink"}
        assert "must keep one" in ask("pool_shrink", n=2)["error"]
        assert "whole number above 0" in ask("pool_grow", n="x")["error"]
        assert ask("current_prefetch_count")["prefetch_count"] == 8
        client.control.revoke([nap.id for nap in naps], terminate=True, signal="KILL")
        until(lambda: len(worker.children()) == 2, "two children")


def test_queues_are_added_and_cancelled_also_over_a_reconnect(tmp_path, url, name):
    client = celery.Celery("client", broker=url, control_exchange=name)
    client.conf.broker_pool_limit = None
    cable, node = Cable(url), f"{name}@h"
    app = APP.format(name=name)
    with running_worker(tmp_path, "-P", "solo", "-n", node, app=app, broker=cable.url) as worker:
        worker.until_logged("the mailbox is open")

        def ask(command: str, **arguments: Any) -> Any:
            replies = client.control.broadcast(command, arguments, [node], reply=True, timeout=10, limit=1)
            return replies[0][node]

        def runs(**where: Any) -> None:
            asked = client.send_task("proj.add", (1, 2), **where)
            worker.until_logged(f"proj.add[{asked.id}] succeeded")

        extra, topics, exchange = f"{name}.extra", f"{name}.topics", f"{name}.ex"
        for _ in range(2):  # twice is once
            assert ask("add_consumer", queue=extra) == {"ok": f"add consumer {extra}"}
        told: dict[str, Any] = {"exchange": exchange, "exchange_type": "topic", "routing_key": "a.#"}
        told |= {"durable": False, "auto_delete": True, "queue_arguments": {"x-max-priority": 5}}
        by_topic = {"exchange": exchange, "declare": [Exchange(exchange, "topic")]}
        assert ask("add_consumer", queue=topics, **told) == {"ok": f"add consumer {topics}"}
        runs(queue=extra)
        runs(**by_topic, routing_key="a.b.c")
        assert ask("cancel_consumer", queue=name) == {"ok": f"no longer consuming from {name}"}
        before = ask("active_queues")
        assert [(queue["name"], queue["durable"]) for queue in before] == [(extra, True), (topics, False)]

        cable.cut()
        worker.until_logged("lost:")
        cable.mend()
        worker.until_logged(f"consuming from {extra}, {topics}\n")
        worker.until_logged("the mailbox is open", times=2)
        assert ask("active_queues") == before
        runs(queue=extra)
        left = client.send_task("proj.add", (1, 2), queue=name)
        runs(**by_topic, routing_key="a.z")
        assert left.id not in worker.log
        assert worker.stop() == 0
    cable.cut()
    client.close()


def test_celerys_command_line_inspects_our_worker(tmp_path, url, name):
    node = f"{name}@here"
    (tmp_path / "celery_cli.py").write_text(
        f"from celery import Celery\napp = Celery(broker={url!r}, control_exchange={name!r})\n"
    )
    with running_worker(tmp_path, "-c", "1", "-n", node, app=APP.format(name=name), broker=url) as worker:
        worker.until_logged("the mailbox is open")
        words = ["celery", "-A", "celery_cli", "inspect", "ping", "-t", "10", "-d", node]
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert (done.returncode, "pong" in done.stdout, node in done.stdout) == (0, True, True), done


def test_a_celery_client_revokes_and_terminates(tmp_path, url, name, client):
    pytest.importorskip("bootsteps_worker_pool_prefork")
    mark = tmp_path / "mark"
    with running_worker(
        tmp_path, "-c", "1", "-n", f"{name}@here", app=APP.format(name=name), broker=url
    ) as worker:  # fmt: skip
        worker.until_logged("the mailbox is open")
        running = client.send_task("proj.nap", (60, str(mark)), queue=name)
        until(mark.exists, "the nap's start")
        waiting = client.send_task("proj.nap", (60, str(mark)), queue=name)
        later = client.send_task("proj.nap", (60, str(mark)), queue=name, countdown=50)
        stamped = client.signature("proj.nap", (60, str(mark)), queue=name).stamp(tenant="acme").apply_async()
        worker.until_logged("received", times=4)
        coming = "an-id-to-come"
        client.control.revoke([waiting.id, coming])
        client.control.revoke(later.id)
        client.control.revoke_by_stamped_headers({"tenant": "acme"})
        client.send_task("proj.nap", (60, str(mark)), queue=name, task_id=coming)
        for result in (waiting, later, stamped, client.AsyncResult(coming)):
            with pytest.raises(celery.exceptions.TaskRevokedError, match="revoked"):
                result.get(timeout=20, interval=0.01)
        client.control.revoke(running.id, terminate=True, signal="SIGKILL")
        with pytest.raises(celery.exceptions.TaskRevokedError, match="terminated"):
            running.get(timeout=20, interval=0.01)
        assert client.send_task("proj.add", (1, 2), queue=name).get(timeout=20, interval=0.01) == 3
        assert mark.read_text() == "ran "
        assert worker.stop() == 0


@pytest.mark.parametrize("broker", ["redis", "amqp", "sqlite"])
def test_our_client_revokes_and_terminates(tmp_path, request, name, broker, monkeypatch):
    pytest.importorskip("bootsteps_worker_pool_prefork")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = "" if broker == "sqlite" else request.getfixturevalue(f"{broker}_url")
    app = App("proj", control_exchange=name, task_default_queue=name, **({"broker_url": url} if url else {}))
    mark = tmp_path / "mark"
    with running_worker(tmp_path, "-c", "1", "-n", f"{name}@here", app=APP.format(name=name), broker=url) as worker:
        worker.until_logged("the mailbox is open")
        running = app.send_task("proj.nap", (60, str(mark)))
        until(mark.exists, "the nap's start")
        later = [app.send_task("proj.nap", (60, str(mark)), countdown=50) for _ in range(3)]
        worker.until_logged("received", times=4)
        app.revoke([result.id for result in later])
        running.revoke(terminate=True, signal="KILL")
        states = [(result.get(timeout=20, propagate=False).args, result.state) for result in (running, *later)]
        assert states == [(("terminated",), "REVOKED"), *[(("revoked",), "REVOKED")] * 3]
        broadcast(app, "rate_limit", {"task_name": "proj.add", "rate_limit": "1/h"}, [f"{name}@here"])
        with pytest.raises(TypeError, match="a list of node names"):
            broadcast(app, "ping", destination="w@h")
        assert worker.stop() == 0
    app.close()


def test_a_broken_control_connection_is_made_anew_and_the_tasks_do_not_notice(tmp_path, name):
    redis = pytest.importorskip("redis")
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Redis(folder)
    client = celery.Celery("client", broker=server.url, control_exchange=name)
    try:
        with running_worker(
            tmp_path, "-P", "solo", "-n", "w@h", app=APP.format(name=name), broker=server.url
        ) as worker:
            worker.until_logged("the mailbox is open")
            assert client.control.ping(timeout=10, limit=1) == [{"w@h": {"ok": "pong"}}]
            with redis.Redis.from_url(server.url) as admin:
                assert admin.client_kill_filter(_type="pubsub") >= 1  # others listen too: gossip
            worker.until_logged("the connection for remote control broke")
            worker.until_logged("the mailbox is open", times=2)
            assert client.control.ping(timeout=10, limit=1) == [{"w@h": {"ok": "pong"}}]
            assert "lost:" not in worker.log
            assert worker.log.count("Connected to") == 1
            assert worker.stop() == 0
    finally:
        client.close()
        server.stop()
