"""Redis's protocol, and the connection that speaks it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bootsteps_redis_wire import (
    Address,
    Connection,
    ConnectionLost,
    NoScript,
    NotAdmitted,
    ReadOnly,
    RedisError,
    Refused,
    ServerSilent,
    exchange,
    script_name,
)
from bootsteps_redis_wire.wire import Reader, pack


def reader(data: bytes, step: int = 1 << 20) -> Reader:
    """Return a reader of this, `step` bytes at a time."""
    parts = iter([data[at : at + step] for at in range(0, len(data), step)])
    return Reader(lambda most: next(parts, b""))


def test_a_command_is_packed_as_redis_wants_it() -> None:
    assert pack([("SET", "ü", b"\r\n"), ("GET", 7, 0.5)]) == (
        b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xbc\r\n$2\r\n\r\n\r\n*3\r\n$3\r\nGET\r\n$1\r\n7\r\n$3\r\n0.5\r\n"
    )
    with pytest.raises(TypeError, match="not None"):
        pack([("SET", None)])


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])
def test_answers_are_read_however_they_are_torn(step: int) -> None:
    answers = reader(
        b"+OK\r\n:-12\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n$0\r\n\r\n:1\r\n%1\r\n$1\r\na\r\n:2\r\n"
        b"$200000\r\n" + b"x" * 200_000 + b"\r\n:7\r\n",
        step,
    )
    found = [answers.read() for _ in range(10)]
    assert found[:8] == [b"OK", -12, b"a\r\nbc", None, None, [], [[b""], 1], {b"a": 2}]
    assert (found[8], found[9], answers.buffered) == (b"x" * 200_000, 7, False)
    with pytest.raises(ConnectionLost, match="closed"):
        answers.read()


def test_errors_are_told_apart() -> None:
    told = ("ERR no", "NOSCRIPT gone", "READONLY x", "LOADING it", "MASTERDOWN x", "NOAUTH x", "WRONGPASS x")
    answers = reader("".join(f"-{text}\r\n" for text in told).encode() + b"*2\r\n-WRONGTYPE x\r\n:1\r\n")
    kinds = [type(answers.read()) for _ in told]
    assert kinds == [Refused, NoScript, ReadOnly, ConnectionLost, ConnectionLost, NotAdmitted, NotAdmitted]
    inner, one = answers.read()
    assert (type(inner), one) == (Refused, 1)


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n"])
def test_what_is_no_answer_is_told(nonsense: bytes) -> None:
    with pytest.raises(ConnectionLost, match="is it a Redis"):
        reader(nonsense).read()


@pytest.fixture
def server() -> Any:
    """Serve one connection by a function that gets its socket."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(act: Callable[[socket.socket], object]) -> int:
        def run() -> None:
            with suppress(OSError):
                near, _ = listening.accept()
                with near:
                    act(near)

        threading.Thread(target=run, daemon=True).start()
        return int(listening.getsockname()[1])

    yield serve
    listening.close()


def test_it_says_who_it_is(server: Any) -> None:
    heard: list[bytes] = []

    def act(near: socket.socket) -> None:
        heard.append(near.recv(4096))
        near.sendall(b"%1\r\n+server\r\n+redis\r\n+OK\r\n+OK\r\n")
        near.recv(1)

    where = Address("127.0.0.1", server(act), db=4, password="geheim", client_name="me", timeout=5.0)
    connection = Connection(where, protocol=3)
    connection.connect()
    assert heard == [
        pack([("HELLO", 3, "AUTH", "default", "geheim"), ("CLIENT", "SETNAME", "me"), ("SELECT", 4)]),
    ]
    connection.close()
    with pytest.raises(ConnectionLost, match="is closed"):
        connection.send(("PING",))


def test_a_silent_server_is_given_up(server: Any) -> None:
    done = threading.Event()
    connection = Connection(Address("127.0.0.1", server(lambda near: done.wait(10)), timeout=0.1, connect_timeout=5.0))
    connection.connect()
    assert not connection.readable()
    connection.send(("PING",))
    with pytest.raises(ServerSilent, match=r"within 0\.1 s"):
        connection.receive()
    done.set()


def test_one_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionLost, match=rf"127\.0\.0\.1:{port} cannot be reached: .*refused") as caught:
        Connection(Address("127.0.0.1", port)).connect()
    assert isinstance(caught.value, RedisError | ConnectionError)


def test_who_is_not_let_in_is_told_apart_from_a_server_that_is_away(server: Any) -> None:
    port = server(lambda near: (near.recv(4096), near.sendall(b"-ERR DB index is out of range\r\n"), near.recv(1)))
    with pytest.raises(NotAdmitted, match="does not let us in: ERR DB index"):
        Connection(Address("127.0.0.1", port, db=99, timeout=5.0)).connect()


def test_commands_go_together_and_errors_are_among_the_answers(server: Any) -> None:
    heard: list[bytes] = []

    def act(near: socket.socket) -> None:
        heard.append(near.recv(4096))
        near.sendall(b"+OK\r\n-ERR no\r\n:1\r\n")
        near.recv(1)

    connection = Connection(Address("127.0.0.1", server(act), timeout=5.0))
    connection.connect()
    ok, refused, one = exchange(connection, [("A",), ("B",), ("C",)])
    assert (ok, str(refused), type(refused), one) == (b"OK", "ERR no", Refused, 1)
    assert heard == [pack([("A",), ("B",), ("C",)])]
    connection.close()


def test_it_waits_for_what_comes_later(server: Any) -> None:
    go = threading.Event()
    connection = Connection(Address("127.0.0.1", server(lambda near: (go.wait(10), near.sendall(b"+A\r\n+B\r\n")))))
    connection.connect()
    assert not connection.readable(0.01)
    go.set()
    assert connection.readable(10)
    assert connection.receive() == b"A"
    assert connection.readable()  # what was received with the other
    assert connection.receive() == b"B"
    connection.close()


def test_a_script_has_the_name_that_redis_gives_it() -> None:
    assert script_name("return 1") == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_neither_redis_py_nor_openssl_is_imported() -> None:
    code = """
import sys, bootsteps_redis_wire
bootsteps_redis_wire.script_name("return 1")
print(sorted({"redis", "ssl", "_hashlib", "asyncio"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
