"""Verdicts, the pages, the sockets and the probe; with real workers in tests/test_health.py."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps import HUB, TIMER, KernelError, ServiceKey
from bootsteps.testing import FakeHub, FakeTimer, check_step, lifetime
from bootsteps_health import probe
from bootsteps_health.keys import HEALTH
from bootsteps_health.server import Server, on_port, on_socket
from bootsteps_health.state import HealthState, Verdict
from bootsteps_health.step import Health


class Clock:
    """Monotonic seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_worker_that_has_not_started_lives_and_is_neither_ready_nor_up(clock):
    state = HealthState("w@h", 30.0, clock=clock)
    clock.now += 1000
    assert state.judge("live").ok
    assert state.judge("startup").reasons == ["the worker is still starting"]
    assert state.judge("ready").reasons == ["the worker is still starting"]


def test_a_loop_that_does_not_turn_is_not_live_after_the_limit(clock):
    state = HealthState("w@h", 30.0, clock=clock)
    state.started = True
    clock.now += 30
    assert state.judge("live").ok
    clock.now += 1
    assert state.judge("live").reasons == ["the loop has not turned for 31 s"]
    state.look()
    assert state.judge("live").ok


def test_a_loop_that_stands_since_it_runs_a_task_lives(clock):
    state = HealthState("w@h", 30.0, busy=lambda: True, clock=clock)
    state.started = True
    clock.now += 3600
    assert state.judge("live").ok


def test_a_complaint_of_the_pool_counts_when_it_stays(clock):
    wrong = ["no child of 2 is ready"]
    state = HealthState("w@h", 30.0, complaints=lambda: wrong, clock=clock)
    state.started = True
    for _ in range(4):
        state.look()
        assert state.judge("live").ok
        clock.now += 10
    state.look()
    assert state.judge("live").reasons == ["no child of 2 is ready, for 40 s"]
    wrong.clear()
    state.look()
    wrong.append("no child of 2 is ready")  # another time
    state.look()
    assert state.judge("live").ok


def test_ready_is_who_misses_nothing_and_does_not_stop(clock):
    state = HealthState("w@h", 30.0, clock=clock)
    state.started = True
    state.look()
    assert state.judge("ready").reasons == ["not connected to the broker"]
    assert state.judge("live").ok
    state.missing = lambda: ["not consuming from mail"]
    state.look()
    assert state.judge("ready").reasons == ["not consuming from mail"]
    state.missing = lambda: []
    state.look()
    assert state.judge("ready").ok
    state.stopping = True
    assert state.judge("ready").reasons == ["the worker takes no new work: it is stopping"]
    assert state.judge("live").ok


def test_the_loop_is_asked_to_look_anew():
    hub = FakeHub()
    seen: list[str] = []

    def complaints() -> list[str]:
        seen.append("looked")
        return []

    state = HealthState("w@h", 30.0, complaints=complaints, call_soon=lambda f: f())
    state.started = True
    state.judge("live")
    assert seen == ["looked"]
    waiting = HealthState("w@h", 30.0, call_soon=hub.call_soon)
    waiting.started = True
    assert waiting.judge("live").ok  # a loop that has a long turn is judged by what it saw before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sockets"


@pytest.fixture(params=["tcp", "unix"])
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[dict[str, str]]:
    """A server that says yes to `live` only; yields how to ask it."""

    def judge(check: str) -> Verdict:
        return Verdict(check, "w@h", () if check == "live" else ("one thing", "another"))

    if request.param == "tcp":
        listener, remove = on_port("127.0.0.1:0"), lambda: None
        asked = {"address": f"127.0.0.1:{listener.getsockname()[1]}"}
    else:
        listener, remove = on_socket(folder, "w@h")
        asked = {"folder": str(folder)}
    server = Server(listener, judge)
    yield asked
    server.close()
    remove()


def words(check: str, asked: dict[str, str], *more: str) -> list[str]:
    return [check, *more, *(f"--{key}={value}" for key, value in asked.items())]


def test_a_probe_gets_a_status_and_a_person_the_reasons(place, capsys):
    assert probe.run(words("live", place)) == 0
    assert capsys.readouterr().out == "w@h: live\n"
    assert probe.run(words("ready", place)) == 1
    assert capsys.readouterr().out == "w@h: not ready: one thing; another\n"
    assert probe.run(words("startup", place, "--json", "-t", "5")) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "check": "startup", "ok": False, "hostname": "w@h", "pid": os.getpid(), "reasons": ["one thing", "another"],
    }  # fmt: skip


def say(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as line:
        line.sendall(text)
        with line.makefile("rb") as file:
            return file.read()


def test_what_is_no_question_is_refused():
    listener = on_port("127.0.0.1:0")
    port = listener.getsockname()[1]
    server = Server(listener, lambda check: Verdict(check, "w@h"))
    try:
        assert say(port, b"GET /livez?verbose HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"\r\nContent-Type: application/json\r\n" in say(port, b"GET /livez HTTP/1.1\r\nAccept: */*\r\n\r\n")
        as_text = say(port, b"GET /livez HTTP/1.1\r\naccept: text/plain\r\n\r\n")
        assert b"\r\nContent-Type: text/plain\r\n" in as_text
        assert as_text.endswith(b"\r\n\r\nw@h: live\n")
        assert say(port, b"HEAD /livez HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
        assert say(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 404 ")
        assert say(port, b"POST /livez HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 405 ")
        assert say(port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.0 400 ")
        assert say(port, b"x" * 8192).startswith(b"HTTP/1.0 400 ")
    finally:
        server.close()


def test_the_socket_is_for_its_user_only_and_goes_with_the_worker(folder):
    listener, remove = on_socket(folder, "w/1@h")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{os.getpid()}.health", "w%2F1@h.health"]
    path = folder / names[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    listener.close()
    remove()
    assert not list(folder.iterdir())


def test_what_a_killed_worker_left_is_no_worker_and_is_swept(folder, capsys):
    on_socket(folder, "dead@h")[0].close()
    (folder / f"{os.getpid()}.health").rename(folder / "1234567.health")
    assert probe.run(["live", "--folder", str(folder)]) == 2
    assert "no worker answers" in capsys.readouterr().err
    listener, remove = on_socket(folder, "w@h")
    assert sorted(path.name for path in folder.iterdir()) == [f"{os.getpid()}.health", "w@h.health"]
    listener.close()
    remove()


def test_one_that_ends_while_all_are_asked_is_left_out_and_one_that_was_named_is_an_error(folder, capsys):
    listener, _ = on_socket(folder, "ends@h")
    ending = threading.Event()

    def end() -> None:
        listener.accept()[0].close()  # the look whether it is there
        question, _ = listener.accept()
        listener.close()  # first, as a process that ends closes both: who asks looks whether it is still there
        question.close()
        ending.set()

    threading.Thread(target=end, daemon=True).start()
    assert probe.run(["live", "--folder", str(folder)]) == 2
    assert "there is no socket of one" in capsys.readouterr().err  # nobody is left who could have answered
    assert ending.wait(20)
    assert probe.run(["live", "ends@h", "--folder", str(folder)]) == 2
    assert "no worker answers: " in capsys.readouterr().err


def test_nobody_answers(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert probe.run(["live", f"--address=127.0.0.1:{port}"]) == 2
    assert "no worker answers" in capsys.readouterr().err
    assert probe.run(["live", "nobody@h", "--folder", str(folder)]) == 2
    assert "no worker called nobody@h answers" in capsys.readouterr().err


def test_a_path_that_is_too_long_for_a_socket_is_reached_all_the_same(tmp_path, capsys):
    folder = tmp_path / ("long" * 30)
    listener, remove = on_socket(folder, "w@h")
    server = Server(listener, lambda check: Verdict(check, "w@h"))
    assert probe.run(["ready", "w", "--folder", str(folder)]) == 0
    server.close()
    remove()


@pytest.mark.parametrize("given", [["--help"], ["live", "a", "b"], ["-t", "x"], ["--nonsense"], ["-t"]])
def test_help_and_wrong_use_are_left_to_the_command_line(given):
    assert probe.run(given) is None


def kernel(*given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bootsteps", *given], text=True, capture_output=True, timeout=60)


def test_the_command_line_says_what_is_wrong(folder):
    assert "live|ready|startup" in kernel("health", "--help").stdout
    wrong = kernel("health", "live", "a", "b")
    assert (wrong.returncode, "one worker at a time: a b" in wrong.stderr) == (2, True)
    wrong = kernel("health", "--address", "here", "-t", "1e0")  # not for a probe
    assert (wrong.returncode, "'here' is no HOST:PORT" in wrong.stderr) == (2, True)
    long_way = subprocess.run(
        [sys.executable, "-m", "bootsteps", "health", f"--folder={folder}"],
        text=True, capture_output=True, timeout=60, env={**os.environ, "KERNEL_WITHOUT": "graph"},
    )  # fmt: skip
    assert (long_way.returncode, "no worker answers" in long_way.stderr) == (2, True)


def test_the_step_keeps_the_contract(folder):
    check_step(Health, worker_health_folder=str(folder), worker_health_address="0")
    assert not list(folder.iterdir())


def test_the_step_answers_where_it_is_told_to(folder, capsys):
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer()}
    with lifetime(Health, services, worker_health_folder=str(folder)) as worker:
        assert probe.run(["startup", str(os.getpid()), "--folder", str(folder)]) == 1
        worker.hooks.announce("worker_ready", worker=worker)
        assert probe.run(["startup", "test", "--folder", str(folder)]) == 0
        worker.hooks.announce("worker_stopping", worker=worker, how="warm")
        assert not worker.get(HEALTH).judge("ready").ok


def test_an_address_that_is_taken_ends_the_boot_and_a_folder_that_cannot_be_used_does_not(tmp_path, caplog):
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = f"health cannot be told on 127.0.0.1:{port}"
        own = lifetime(Health, services, worker_health_address=port, worker_health_socket=False)
        with pytest.raises(KernelError, match=told), own:
            pass
    (tmp_path / "file").write_text("")
    with lifetime(Health, services, worker_health_folder=str(tmp_path / "file")):
        assert "no local socket for health" in caplog.text


def test_a_wrong_address_is_refused():
    with pytest.raises(KernelError, match="HOST:PORT"):
        check_step(Health, worker_health_address="here")
