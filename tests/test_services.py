"""The servers that tests start work for real, are told from strangers, and leave nothing behind."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from services import PortTaken, ServerFailed, rabbitmq_server, redis_server, retried, spawn, until_ready

pytest_plugins = ["pytester"]

SERVERS = {"redis_url": redis_server, "amqp_url": rabbitmq_server}


@pytest.mark.parametrize("fixture", ["redis_url", "amqp_url"])
def test_a_message_goes_through(fixture: str, request: pytest.FixtureRequest) -> None:
    name = f"test-services-{os.getpid()}"
    with Connection(request.getfixturevalue(fixture)) as connection:
        queue = Queue(name, exchange=Exchange(""), routing_key=name, durable=False)(connection.default_channel)
        queue.queue_declare()
        connection.Producer().publish({"number": 42}, exchange="", routing_key=name)
        message = until(queue.get, "no message came")
        message.ack()
        queue.delete()
    assert message.payload == {"number": 42}


@pytest.mark.parametrize("fixture", ["redis_url", "amqp_url"])
def test_nothing_is_left_running(fixture: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not Path("/proc/self/cwd").exists():
        pytest.skip("processes are looked for in /proc, which is Linux's")
    request.getfixturevalue(fixture)  # skips where the server is not installed
    with SERVERS[fixture](tmp_path):
        during = processes_in(tmp_path)
        assert during, "the server itself must be seen, else this test could not fail"
        assert fixture == "redis_url" or any("epmd" in command for command in during.values())
    until(lambda: not processes_in(tmp_path), "a process was left behind")


def until(found: Callable[[], Any], otherwise: str) -> Any:
    """Return the first true answer of `found`; fail after ten seconds."""
    deadline = time.monotonic() + 10.0
    while not (answer := found()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
    return answer


def processes_in(folder: Path) -> dict[int, str]:
    """Return pid -> command line of the processes that know `folder` from their working directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it ended meanwhile
    return found


def test_a_server_that_ends_tells_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"status 3; its log ends:\nout of luck"):
        start(tmp_path, "echo out of luck; exit 3")


def test_a_taken_port_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(PortTaken, match="in use"):
        start(tmp_path, "echo 'bind: Address already in use'; exit 1")


def test_a_taken_port_is_tried_again(tmp_path: Path) -> None:
    ports = iter(["taken", "taken", "free"])

    def start_somewhere() -> tuple[str, list[Any]]:
        if next(ports) == "taken":
            raise PortTaken("in use")
        return "redis://", []

    assert retried(start_somewhere) == ("redis://", [])


def start(folder: Path, script: str) -> None:
    log = folder / "log"
    until_ready([spawn(["sh", "-c", script], log)], log, 10.0, lambda: False)


@pytest.mark.parametrize(("options", "outcome"), [([], "skipped"), (["--require-services"], "errors")])
def test_a_missing_server_skips_or_fails(
    options: list[str], outcome: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).resolve().parent.parent
    pytester.makeini(f"[pytest]\npythonpath = {root / 'tests'}")
    pytester.makeconftest((root / "conftest.py").read_text())
    pytester.makepyfile("def test_it(redis_url): pass")
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("TEST_REDIS_URL", raising=False)
    result = pytester.runpytest_subprocess("-rsE", *options)
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*apt-get install redis-server (or set TEST_REDIS_URL)*"])
