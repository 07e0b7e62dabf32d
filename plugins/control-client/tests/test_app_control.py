"""`app.control` and workers that are made of nothing but a mailbox, on real brokers."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from kombu.pidbox import Mailbox

from bootsteps_control_client.audience import GRACE_S
from bootsteps_control_client.inspector import DuplicateNodename
from bootsteps_tasks import App

Handler = Callable[..., Any]


@pytest.fixture(params=["redis", "amqp", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    scheme = request.param
    pytest.importorskip("bootsteps_transport_sqlite" if scheme == "sqlite" else scheme)
    url = f"sqlite:///{tmp_path}/broker.db" if scheme == "sqlite" else request.getfixturevalue(f"{scheme}_url")
    made = App("client", broker=url, control_exchange=f"client-{uuid.uuid4()}")
    yield made
    made.close()


@contextmanager
def answering(app: App, *names: str, **handlers: Handler) -> Iterator[None]:
    """Nodes that answer in a thread of their own, each on a connection of its own."""
    ended, threads = threading.Event(), []
    for name in names:
        opened = threading.Event()
        threads.append(threading.Thread(target=_answer, args=(app, name, handlers, opened, ended), daemon=True))
        threads[-1].start()
        assert opened.wait(20)
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)


def _answer(app: App, name: str, handlers: dict[str, Handler], opened: threading.Event, ended: threading.Event) -> None:
    with app.connection() as connection:
        box = Mailbox(app.conf["control_exchange"], type="fanout", connection=connection, queue_expires=10.0)
        found = {"ping": lambda state, **arguments: {"ok": "pong"}, **handlers}
        node = box.Node(name.partition("#")[0], handlers=found, channel=connection.channel())
        node.listen()
        opened.set()
        while not ended.is_set():
            try:
                connection.drain_events(timeout=0.1)
            except TimeoutError:
                continue


def pongs(*names: str) -> dict[str, Any]:
    return {name: {"ok": "pong"} for name in names}


def test_all_answers_come_and_later_calls_do_not_wait_for_the_timeout(app: App) -> None:
    with answering(app, "a@h", "b@h", "c@h"):
        assert app.control.inspect(timeout=2).ping() == pongs("a@h", "b@h", "c@h")
        began = time.monotonic()
        for _ in range(5):
            assert app.control.inspect(timeout=10).ping() == pongs("a@h", "b@h", "c@h")
        assert time.monotonic() - began < 5 * (GRACE_S + 1.0)


def test_a_worker_that_came_since_is_not_missed(app: App) -> None:
    with answering(app, "a@h"):
        assert app.control.inspect(timeout=2).ping() == pongs("a@h")
        with answering(app, "b@h"):
            assert app.control.inspect(timeout=10).ping() == pongs("a@h", "b@h")
        assert app.control.inspect(timeout=0.5).ping() == pongs("a@h")


def test_a_slow_worker_is_waited_for(app: App) -> None:
    def sleepy(state: Any, **arguments: Any) -> str:
        time.sleep(0.8)
        return "late"

    with answering(app, "a@h"), answering(app, "slow@h", ping=sleepy):
        for _ in range(2):
            assert app.control.inspect(timeout=10, limit=2).ping() == {**pongs("a@h"), "slow@h": "late"}
        assert app.control.inspect(timeout=3).ping() == {**pongs("a@h"), "slow@h": "late"}


def test_nodes_are_chosen_by_name_and_by_pattern(app: App) -> None:
    with answering(app, "a@h", "b@h", "c@x"):
        control = app.control
        assert control.ping(destination=["b@h"], timeout=10) == [pongs("b@h")]
        assert control.inspect("b@h", timeout=10).ping() == {"ok": "pong"}
        assert control.inspect(["a@h", "c@x"], timeout=10).ping() == pongs("a@h", "c@x")
        assert control.inspect(timeout=2, pattern="*@h", matcher="glob").ping() == pongs("a@h", "b@h")
        assert control.inspect(timeout=2, pattern="[bc]@", matcher="pcre").ping() == pongs("b@h", "c@x")
        assert control.ping(destination=["nobody@h"], timeout=0.3) == []
        assert len(control.ping(timeout=10, limit=2)) == 2
        with pytest.raises(TypeError, match="a list of node names"):
            control.ping(destination=7)


def test_answers_are_told_as_they_come_and_arguments_travel(app: App) -> None:
    heard: list[Any] = []
    with answering(app, "a@h", echo=lambda state, **arguments: arguments):
        found = app.control.broadcast(
            "echo", {"x": [1, {"y": "é"}]}, reply=True, timeout=10, limit=1, callback=heard.append, z=None
        )
    assert found == heard == [{"a@h": {"x": [1, {"y": "é"}], "z": None}}]


def test_two_workers_of_one_name_are_reported(app: App) -> None:
    if app.broker_url()[0].startswith(("amqp", "sqlite")):
        pytest.skip("there a mailbox belongs to one worker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with answering(app, "a@h", "a@h#2"), pytest.warns(DuplicateNodename, match="several workers answered as a@h"):
            assert app.control.inspect(timeout=2).ping() == pongs("a@h")


def test_a_call_without_reply_returns_at_once(app: App) -> None:
    told: list[Any] = []
    with answering(app, "a@h", revoke=lambda state, **arguments: told.append(arguments)):
        assert app.control.revoke({"an-id"}, terminate=True) is None
        assert app.control.inspect(timeout=10, limit=1).ping()
    assert told == [{"task_id": ["an-id"], "terminate": True, "signal": "SIGTERM"}]


def test_results_are_revoked_and_the_answer_waited_for(app: App) -> None:
    told: list[Any] = []

    def note(state: Any, **arguments: Any) -> str:
        told.append(arguments)
        return "noted"

    how: Any = {"wait": True, "timeout": 10.0}
    with answering(app, "a@h", revoke=note, revoke_by_stamped_headers=note):
        assert app.control.ping(timeout=10, limit=1)
        app.AsyncResult("one").revoke(**how)
        app.GroupResult("g", [app.AsyncResult("two"), app.AsyncResult("three")]).revoke(terminate=True, **how)
        app.AsyncResult("one").revoke_by_stamped_headers({"tenant": "acme"}, signal="KILL", **how)
        assert told == [
            {"task_id": "one", "terminate": False, "signal": "SIGTERM"},
            {"task_id": ["two", "three"], "terminate": True, "signal": "SIGTERM"},
            {"headers": {"tenant": "acme"}, "terminate": False, "signal": "KILL"},
        ]


def test_nobody_is_none(app: App) -> None:
    assert app.control.inspect(timeout=0.2).active() is None
    assert app.control.ping(timeout=0.2) == []


def test_a_connection_or_a_channel_of_ones_own_may_be_used(app: App) -> None:
    with answering(app, "a@h"), app.connection() as connection:
        assert app.control.ping(timeout=10, limit=1, connection=connection) == [pongs("a@h")]
        channel = connection.channel()
        assert app.control.ping(timeout=10, limit=1, channel=channel) == [pongs("a@h")]
        assert app.control.ping(timeout=10, limit=1, connection=connection, channel=channel) == [pongs("a@h")]


def test_many_threads_ask_at_the_same_time(app: App) -> None:
    found: list[Any] = []
    with answering(app, "a@h"):

        def ask() -> None:
            found.extend(app.control.inspect(timeout=20, limit=1).ping() for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found == [pongs("a@h")] * 30


def test_an_idle_connection_that_was_cut_is_made_anew(app: App) -> None:
    with answering(app, "a@h"):
        assert app.control.ping(timeout=10, limit=1) == [pongs("a@h")]
        for line in app.control._lines.get()._idle:
            _socket_of(line).shutdown(socket.SHUT_RDWR)
        assert app.control.ping(timeout=10, limit=1) == [pongs("a@h")]


def _socket_of(line: Any) -> socket.socket:
    """What the server's end, or a firewall, would cut."""
    if hasattr(line.channel, "_link"):
        return line.channel._link._connection.socket  # type: ignore[no-any-return]
    if not hasattr(line.channel.connection, "transport"):
        pytest.skip("a file cannot be cut off")
    return line.channel.connection.transport.sock  # type: ignore[no-any-return]


def test_a_forked_process_asks_on_a_connection_of_its_own(app: App) -> None:
    with answering(app, "a@h"):
        assert app.control.ping(timeout=10, limit=1)
        pid = os.fork()
        if not pid:
            found = app.control.ping(timeout=10, limit=1)
            os._exit(0 if found == [pongs("a@h")] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert app.control.ping(timeout=10, limit=1) == [pongs("a@h")]


def test_waiting_messages_are_purged(app: App) -> None:
    app.conf.task_default_queue = f"purged-{uuid.uuid4()}"
    assert app.control.purge() == 0
    for _ in range(3):
        app.send_task("nobody.knows")
    assert app.control.discard_all() == 3


def test_a_broker_that_is_away_is_an_error() -> None:
    app = App("client", broker="amqp://127.0.0.1:1//")
    with pytest.raises(OperationalError):
        app.control.ping()
