"""The socket: who may ask, what is answered, and what is left when a worker is no more."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bootsteps import Commands, KernelError, control_command, inspect_command
from bootsteps.commands import command_of
from bootsteps_control_socket import ask, find
from bootsteps_control_socket.folder import own_folder, sweep
from bootsteps_control_socket.server import Server
from bootsteps_control_socket.turns import ACCEPTED, Turns


def echo(name: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
    return {"ok": [name, arguments, timeout_s]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder, "w1@h.example", echo)
    made.open()
    yield made
    made.close()


def test_it_is_found_by_pid_by_name_and_by_the_names_beginning(server: Server, folder: Path) -> None:
    for name in (str(os.getpid()), "w1@h.example", "w1"):
        assert ask(find(name, folder), "ping", {"n": 1}, 2.0) == {"w1@h.example": {"ok": ["ping", {"n": 1}, 2.0]}}


def test_only_its_own_user_may_come_near(server: Server, folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_a_folder_that_is_open_to_others_is_closed_and_a_link_refused(tmp_path: Path) -> None:
    opened = tmp_path / "open"
    opened.mkdir(mode=0o755)
    assert stat.S_IMODE(own_folder(opened).stat().st_mode) == 0o700
    link = tmp_path / "link"
    link.symlink_to(opened)
    with pytest.raises(KernelError, match="is not this user's own folder"):
        own_folder(link)


def test_nothing_is_left_when_it_is_closed(server: Server, folder: Path) -> None:
    server.close()
    assert list(folder.iterdir()) == []
    with pytest.raises(KernelError, match="no worker on this machine is called 'w1'"):
        find("w1", folder)


def test_what_a_killed_worker_left_is_removed_by_the_next(folder: Path) -> None:
    own_folder(folder)
    left = folder / "4711.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    (folder / "old@h.sock").symlink_to(left.name)
    server = Server(folder, "new@h", echo)
    server.open()
    try:
        assert {path.name for path in folder.iterdir()} == {f"{os.getpid()}.sock", "new@h.sock"}
    finally:
        server.close()


def test_a_name_that_another_worker_took_over_is_not_taken_from_it(folder: Path) -> None:
    first, second = Server(folder, "w@h", echo), Server(folder, "w@h", echo)
    second.path = folder / "2.sock"
    first.open()
    second.open()
    first.close()
    assert ask(find("w@h", folder), "ping", {})["w@h"]["ok"][0] == "ping"
    second.close()
    sweep(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_with_a_long_name_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    server = Server(deep, "w@h", echo)
    server.open()
    try:
        assert ask(find("w@h", deep), "ping", {})["w@h"]["ok"][0] == "ping"
    finally:
        server.close()


@pytest.mark.parametrize("text", [b"{\n", b"[]\n", b'{"command": 7}\n', b'{"command": "x", "arguments": []}\n', b"7\n"])
def test_nonsense_is_answered_with_an_error(server: Server, folder: Path, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(find("w1", folder)))
        line.sendall(text)
        answer = json.loads(line.makefile("rb").readline())
    if text.endswith(b"[]}\n"):
        assert answer["w1@h.example"]["ok"][1] == {}
    else:
        assert answer["w1@h.example"]["error"].startswith("this is no command")


class Loop:
    """A loop that turns when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class Board:
    """A switchboard with two commands; remembers who ran them."""

    def __init__(self) -> None:
        self.commands = Commands()
        self.ran: list[tuple[str, str]] = []

        @inspect_command()
        def look(state: Any) -> str:
            return "seen"

        @control_command()
        def act(state: Any) -> str:
            return "done"

        for function in (look, act):
            command = command_of(function)
            assert command is not None
            self.commands.add(command, "test")

    def command(self, name: str) -> Any:
        return self.commands.get(name)

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        self.ran.append((name, threading.current_thread().name))
        return name if name in self.commands else {"error": f"KeyError({name!r})"}


def test_a_loop_that_is_busy_keeps_no_question_waiting_and_acts_later_once() -> None:
    board, loop = Board(), Loop()
    turns = Turns(board, loop.call_soon)  # type: ignore[arg-type]
    began = time.monotonic()
    assert turns.answer("look", {}, 5.0) == "look"
    assert time.monotonic() - began < 1.0
    assert turns.answer("act", {}, 0.05) == {"ok": ACCEPTED}
    assert [name for name, _ in board.ran] == ["look"]
    loop.turn()
    assert [name for name, _ in board.ran] == ["look", "act"]
    assert turns.answer("nonesuch", {}, 1.0) == {"error": "KeyError('nonesuch')"}


def test_a_loop_that_turns_answers_itself() -> None:
    board = Board()

    def call_soon(call: Any) -> None:
        threading.Thread(target=call, name="the loop").start()

    turns = Turns(board, call_soon)  # type: ignore[arg-type]
    assert [turns.answer(name, {}, 5.0) for name in ("look", "act")] == ["look", "act"]
    assert [where for _, where in board.ran] == ["the loop", "the loop"]
