"""A process that is asked for a debugger, and somebody who connects."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from bootsteps.testing import check_step
from bootsteps_debugger import session
from bootsteps_debugger.step import Debugger

CODE = """
    import logging, signal, sys, time
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    from bootsteps_debugger.step import _handler
    signal.signal(signal.SIGUSR2, _handler(float(sys.argv[1])))
    goes_on, secret = True, 41

    def turn():
        mine = secret + 1
        print("begun", flush=True)
        while goes_on:
            time.sleep(0.01)
        print("left the loop with", mine, flush=True)

    turn()
"""


@pytest.fixture
def process():
    made: list[Any] = []

    def start(wait_s: float = 30.0) -> Any:
        command = [sys.executable, "-u", "-c", textwrap.dedent(CODE), str(wait_s)]
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        assert made[-1].stdout.readline() == "begun\n"
        return made[-1]

    yield start
    for each in made:
        each.kill()
        each.communicate()


def asked(process) -> int:
    """Ask for a debugger, and return its port."""
    process.send_signal(signal.SIGUSR2)
    line = process.stdout.readline()
    found = re.search(r"in process (\d+): nc 127\.0\.0\.1 (\d+)$", line)
    assert found, line
    assert int(found[1]) == process.pid
    return int(found[2])


def said(client: socket.socket, until: str = "(Pdb) ") -> str:
    text = ""
    while not text.endswith(until):
        got = client.recv(4096).decode()
        assert got, text
        text += got
    return text


def test_it_shows_where_the_process_is_and_lets_it_go_on(process):
    running = process()
    with socket.create_connection(("127.0.0.1", asked(running)), timeout=30) as client:
        assert "turn()" in said(client)
        client.sendall(b"p mine\np 1 + 1\n")  # two at one time, too
        assert "42" in said(client)
        said(client)
        client.sendall(b"w\n")
        assert "turn()" in said(client)
        client.sendall(b"n\n")  # it can be stepped through
        said(client)
        client.sendall(b"n\n")
        said(client)
        client.sendall(b"!globals()['goes_on'] = False\n")
        said(client)
        client.sendall(b"c\n")
        assert "goes on" in running.stdout.readline()
    assert running.stdout.readline() == "left the loop with 42\n"
    assert running.wait(30) == 0


@pytest.mark.parametrize("last", [b"q\n", b""])
def test_neither_quitting_nor_hanging_up_ends_the_process(process, last):
    running = process()
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", asked(running)), timeout=30) as client:
            said(client)
            client.sendall(last)
        assert "the debugger is closed" in running.stdout.readline()
    assert running.poll() is None


def test_nobody_is_waited_for_only_so_long(process):
    running = process(0.2)
    port = asked(running)
    assert "nobody came" in running.stdout.readline()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert running.poll() is None


def test_the_user_at_the_other_end_is_known_and_strangers_are_sent_away(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()):
            connection, address = listener.accept()
            assert session._user(address, listener.getsockname()) == os.getuid()
            connection.close()
        monkeypatch.setattr(session, "_user", lambda *addresses: 12345)
        with socket.create_connection(listener.getsockname()) as client:
            assert session._somebody(listener, time.monotonic() + 0.3) is None
            assert client.recv(10) == b""


def test_keeps_the_contract():
    check_step(Debugger)
