"""Remote control does not depend on the way of the tasks: it answers whatever that is doing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bootsteps_tasks import App
from gate import Gate, through
from workers import running_worker, until

client_plugin = pytest.importorskip("bootsteps_control_client")
socket_plugin = pytest.importorskip("bootsteps_control_socket")

#: 30,000 for the figures; fewer by default.
HELD = int(os.environ.get("KERNEL_TEST_HELD", "600"))

APP = """
    import time
    from bootsteps_tasks import App
    app = App("proj", control_exchange={name!r}, task_default_queue={name!r}, worker_eta_horizon=100000)

    @app.task
    def nap(seconds, mark=None):
        if mark:
            open(mark, "w").close()
        time.sleep(seconds)

    @app.task
    def spin(seconds, mark):
        open(mark, "w").close()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
"""


@pytest.fixture
def name() -> str:
    return f"alone-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def app(url: str, name: str) -> Iterator[App]:
    made = App(
        "proj", broker=url, control_exchange=name, task_default_queue=name, task_ignore_result=True,
        worker_eta_horizon=100000,
    )  # fmt: skip
    yield made
    made.close()


def answer(app: App, node: str, command: str = "ping", **arguments: Any) -> Any:
    """Return the node's answer. It is there in some milliseconds; a machine that is busy may take its time."""
    found = app.control.broadcast(command, arguments, [node], reply=True, timeout=20)
    assert found, f"{command} was not answered"
    return found[0][node]


def test_it_answers_while_every_child_is_busy(tmp_path: Path, url: str, name: str, app: App) -> None:
    pytest.importorskip("bootsteps_worker_pool_prefork")
    node, marks = f"{name}@here", [tmp_path / f"mark{number}" for number in range(2)]
    with running_worker(tmp_path, "-c", "2", "-n", node, app=APP.format(name=name), broker=url) as worker:
        worker.until_logged("the mailbox is open")
        for mark in marks:
            app.send_task("proj.spin", (60, str(mark)))
        app.send_task("proj.nap", (0,))
        until(lambda: all(mark.exists() for mark in marks), "two tasks that spin")
        worker.until_logged("received", times=3)
        assert answer(app, node) == {"ok": "pong"}
        assert [found["name"] for found in answer(app, node, "active")] == ["proj.spin"] * 2
        assert [found["name"] for found in answer(app, node, "reserved")] == ["proj.nap"]


@pytest.mark.timeout(120 + HELD / 50)
def test_it_answers_while_many_tasks_wait_for_their_eta(tmp_path: Path, url: str, name: str, app: App) -> None:
    node = f"{name}@here"
    with running_worker(tmp_path, "-P", "solo", "-n", node, app=APP.format(name=name), broker=url) as worker:
        worker.until_logged("the mailbox is open")
        app.send_many(("proj.nap", (0,), {}, {"countdown": 3000}) for _ in range(HELD))
        assert answer(app, node) == {"ok": "pong"}  # while they come in
        until(lambda: answer(app, node, "stats")["prefetch_count"] >= HELD, "that all are held", 30 + HELD / 200)
        found = app.control.inspect([node], timeout=30).scheduled()[node]
        assert len(found) == HELD
        assert answer(app, node) == {"ok": "pong"}
        times = [entry["eta"] for entry in found]
        assert times == sorted(times)
        local = socket_plugin.find(str(worker.process.pid))
        began = time.monotonic()
        assert socket_plugin.ask(local, "ping", {}) == {node: {"ok": "pong"}}
        assert time.monotonic() - began < 1


def test_a_worker_may_take_no_commands_from_the_broker(tmp_path: Path, redis_url: str, name: str) -> None:
    node, text = (
        f"{name}@here",
        APP.format(name=name).replace("worker_eta", "worker_enable_remote_control=False, worker_eta"),
    )
    with (
        closing(App("proj", broker=redis_url, control_exchange=name)) as app,
        running_worker(tmp_path, "-P", "solo", "-n", node, app=text, broker=redis_url) as worker,
    ):
        assert app.control.ping(timeout=0.5) == []
        assert "Starting Control\n" not in worker.log
        assert socket_plugin.ask(socket_plugin.find(node), "ping", {}) == {node: {"ok": "pong"}}


def leading_to_the_mailbox(gate: Gate, app: App, node: str) -> set[int]:
    """The numbers of the connections by which answers go."""
    before, pings = gate.passed(), 50
    for _ in range(pings):
        assert answer(app, node) == {"ok": "pong"}
    return {
        number for number, (old, new) in enumerate(zip(before, gate.passed(), strict=True)) if new - old > 100 * pings
    }


def test_it_answers_while_the_connection_of_the_tasks_is_being_made_anew(
    tmp_path: Path, url: str, name: str, app: App
) -> None:
    node = f"{name}@here"
    with closing(Gate(urlsplit(url).port or 0)) as gate:
        where = through(url, gate)
        with running_worker(tmp_path, "-P", "solo", "-n", node, app=APP.format(name=name), broker=where) as worker:
            worker.until_logged("the mailbox is open")
            assert answer(app, node) == {"ok": "pong"}
            mine = leading_to_the_mailbox(gate, app, node)
            gate.open = False
            for number in range(len(gate)):
                if number not in mine:
                    gate.cut(number)
            worker.until_logged("cannot connect to")
            assert answer(app, node) == {"ok": "pong"}
            assert answer(app, node, "stats")["pid"] == worker.process.pid
            assert answer(app, node, "active") == []
            assert answer(app, node, "add_consumer", queue=f"{name}-more") == {"ok": f"add consumer {name}-more"}
            assert "the connection for remote control broke" not in worker.log
            gate.open = True
            worker.until_logged(f"consuming from {name}, {name}-more")
            assert worker.stop() == 0


def test_a_solo_pool_in_a_long_task_answers_on_the_socket(
    tmp_path: Path, redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    node = f"{name}@here"
    with (
        closing(App("proj", broker=redis_url, control_exchange=name, task_default_queue=name)) as app,
        running_worker(tmp_path, "-P", "solo", "-n", node, app=APP.format(name=name), broker=redis_url) as worker,
    ):
        worker.until_logged("commands are answered on")
        local = socket_plugin.find(node)
        assert local == tmp_path / "bootsteps" / f"{node}.sock"
        idle = [_timed(local, "ping") for _ in range(20)]
        assert sorted(idle)[10] < 0.05
        app.send_task("proj.spin", (60, str(tmp_path / "mark")))
        until((tmp_path / "mark").exists, "the task's start")
        busy = [_timed(local, "ping") for _ in range(9)]
        assert sorted(busy)[4] < 0.2  # the task holds the interpreter, five milliseconds at a time
        (found,) = socket_plugin.ask(local, "active", {})[node]
        assert (found["name"], found["worker_pid"]) == ("proj.spin", worker.process.pid)
        assert socket_plugin.ask(local, "stats", {})[node]["pid"] == worker.process.pid
        late = socket_plugin.ask(local, "rate_limit", {"task_name": "proj.nap", "rate_limit": "1/m"}, 0.2)
        assert late[node]["ok"].startswith("accepted; the loop is busy")
        assert socket_plugin.ask(local, "nonesuch", {})[node] == {"error": "KeyError('nonesuch')"}
        worker.kill()
        assert local.is_symlink()
        with running_worker(tmp_path, "-P", "solo", "-n", node, app=APP.format(name=name), broker=redis_url) as next_:
            next_.until_logged("commands are answered on")
            assert not (tmp_path / "bootsteps" / f"{worker.process.pid}.sock").exists()
            assert next_.stop() == 0
        assert list((tmp_path / "bootsteps").iterdir()) == []


def _timed(local: Path, command: str) -> float:
    began = time.monotonic()
    socket_plugin.ask(local, command, {})
    return time.monotonic() - began


def test_the_socket_is_no_reason_to_warn_when_a_child_is_replaced(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "1", broker=f"sqlite:///{tmp_path}/broker.db") as worker:
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        until(lambda: worker.children() not in ([], [child]), "the next child")
        assert "forking while" not in worker.log
        assert worker.stop() == 0
