"""Through the kernel's own command line, as a user types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bootsteps.cli import root
from bootsteps.errors import KernelError, LackingCapability, SettingError, WrongType
from bootsteps_tasks import App

PROJECT = """
from bootsteps_tasks import App
app = App("shop", broker="memory://", backend="files://")
@app.task
def add(x, y=0):
    return x + y
"""

STORE = """
from bootsteps_tasks.backend import meta
class Store:
    "Knows the result of three ids and of every task that was just sent."
    metas = {"good": meta("good", "SUCCESS", {"n": 1}), "bad": meta("bad", "FAILURE", ValueError("no"), "Traceback x")}
    answer = True
    def __init__(self, app, url): pass
    def get(self, task_id): return self.metas.get(task_id)
    def wait(self, ids, timeout=None):
        found = {id: self.metas.get(id) or meta(id, "SUCCESS", 5) for id in ids if id != "never"}
        return found if self.answer else {}
    def close(self): pass
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Any) -> Iterator[App]:
    import sys

    install("kernel.backends", "files = fake_files:Store", STORE)
    (tmp_path / "shop.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shop  # type: ignore[import-not-found]

    yield shop.app
    shop.app.close()
    for name in ("shop", "fake_files"):
        sys.modules.pop(name, None)


def kernel(*args: str) -> Result:
    return CliRunner().invoke(root, args, prog_name="kernel")


def sent(app: App, queue: str = "celery") -> list[Any]:
    with app.connection() as connection:
        bound = app.queues([queue])[0].bind(connection.default_channel)
        bound.declare()
        return list(iter(lambda: bound.get(no_ack=True), None))


def test_call_sends_the_task_and_prints_its_id(project: App) -> None:
    done = kernel("-A", "shop", "call", "shop.add", "--args", "[2]", "--kwargs", '{"y": 3}', "--queue", "slow")
    assert done.exit_code == 0, done.output
    (message,) = sent(project, "slow")
    assert message.payload[:2] == [[2], {"y": 3}]
    assert done.stdout.strip() == message.headers["id"]
    done = kernel("-A", "shop", "call", "shop.add", "-a", "[2]", "--countdown", "5", "--priority", "7", "--json")
    (message,) = sent(project)
    assert json.loads(done.stdout) == {"id": message.headers["id"]}
    assert message.headers["eta"] is not None
    assert message.properties["priority"] == 7


def test_call_takes_what_a_call_in_python_takes(project: App) -> None:
    words = ("--eta", "2031-01-31T12:00:00+00:00", "--serializer", "json", "--exchange", "ex", "--routing-key", "key")
    with project.connection() as connection, connection.channel() as channel:
        channel.exchange_declare("ex", "direct")
        channel.queue_declare("eta-there")
        channel.queue_bind("eta-there", "ex", "key")
        done = kernel("-A", "shop", "call", "shop.add", "--args", "[1]", *words)
        assert done.exit_code == 0, done.output
        message = channel.basic_get("eta-there", no_ack=True)
    assert message.headers["eta"].startswith("2031-01-31T12:00:00")
    done = kernel("-A", "shop", "call", "shop.add", "--eta", "soon")
    assert (done.exit_code, isinstance(done.exception, KernelError)) == (1, True)


def test_call_waits_for_the_result(project: App) -> None:
    done = kernel("-A", "shop", "call", "shop.add", "-a", "[2]", "--wait")
    assert (done.exit_code, done.stdout) == (0, "SUCCESS 5\n")
    done = kernel("-A", "shop", "call", "shop.add", "-a", "[2]", "--wait", "--json")
    assert json.loads(done.stdout)["result"] == 5


def test_call_of_an_unknown_name_is_sent_with_a_note(project: App) -> None:
    done = kernel("-A", "shop", "call", "shop.ad")
    assert done.exit_code == 0
    assert "shop has no task 'shop.ad' did you mean 'shop.add'?" in done.stderr
    assert len(sent(project)) == 1


@pytest.mark.parametrize(
    ("args", "error", "reason"),
    [
        (["--args", "[2"], SettingError, "--args is not JSON"),
        (["--args", "{}"], SettingError, "--args is JSON, but not a list"),
        (["--kwargs", "[]"], SettingError, "--kwargs is JSON, but not an object"),
        (["--args", "[1, 2, 3]"], SettingError, "too many positional arguments"),
    ],
)
def test_call_refuses_wrong_arguments(project: App, args: list[str], error: type[KernelError], reason: str) -> None:
    done = kernel("-A", "shop", "call", "shop.add", *args)
    assert isinstance(done.exception, error)
    assert reason in str(done.exception)
    assert done.exception.fix
    assert sent(project) == []


def test_call_tells_of_a_broker_that_is_not_there(project: App) -> None:
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    project.conf.broker_url = f"amqp://guest:secret@127.0.0.1:{port}//"
    project.close()
    done = kernel("-A", "shop", "call", "shop.add", "-a", "[1]")
    assert isinstance(done.exception, KernelError)
    assert not isinstance(done.exception, LackingCapability)
    assert "the broker cannot be reached" in str(done.exception)
    assert f"amqp://guest:**@127.0.0.1:{port}//" in str(done.exception)
    assert "secret" not in str(done.exception)


def test_result_shows_state_and_value(project: App) -> None:
    assert kernel("-A", "shop", "result", "good").stdout == "SUCCESS {'n': 1}\n"
    assert kernel("-A", "shop", "result", "unknown").stdout == "PENDING None\n"
    assert kernel("-A", "shop", "result", "bad").stdout == "FAILURE ValueError: no\n"
    assert kernel("-A", "shop", "result", "bad", "--traceback").stdout == "FAILURE ValueError: no\nTraceback x\n"
    found = json.loads(kernel("-A", "shop", "result", "bad", "--json").stdout)
    assert (found["status"], found["result"]["exc_type"], found["task_id"]) == ("FAILURE", "ValueError", "bad")


def test_result_waits_and_tells_failure_by_its_exit_status(project: App) -> None:
    assert kernel("-A", "shop", "result", "good", "--wait").exit_code == 0
    assert kernel("-A", "shop", "result", "bad", "--wait").exit_code == 1
    done = kernel("-A", "shop", "result", "never", "--wait", "--timeout", "0")
    assert isinstance(done.exception, KernelError)
    assert "task never is PENDING after 0.0 s" in str(done.exception)


def test_an_application_without_tasks_is_refused() -> None:
    done = kernel("result", "x")
    assert isinstance(done.exception, WrongType)
    assert "no application with tasks" in str(done.exception)


@pytest.mark.parametrize("command", ["call", "result"])
def test_help_teaches(command: str) -> None:
    done = kernel(command, "--help")
    assert done.exit_code == 0
    assert f"kernel -A proj {command} " in done.stdout
    assert "--json" in done.stdout
