# mypy: disable-error-code="no-untyped-call"
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
from kombu import Connection as KombuConnection

from bootsteps_transport_redis import Transport
from bootsteps_transport_redis.addressing import address_of, database
from bootsteps_transport_redis.connection import Address, Connection
from bootsteps_transport_redis.errors import ConnectionLost, NoScript, RedisError, Refused, ServerSilent
from bootsteps_transport_redis.wire import Reader, pack


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
    answers = reader(b"-ERR no\r\n-NOSCRIPT gone\r\n-LOADING it\r\n*2\r\n-WRONGTYPE x\r\n:1\r\n")
    kinds = [type(answers.read()) for _ in range(3)]
    assert kinds == [Refused, NoScript, ConnectionLost]
    inner, one = answers.read()
    assert (type(inner), one) == (Refused, 1)


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n"])
def test_what_is_no_answer_is_told(nonsense: bytes) -> None:
    with pytest.raises(ConnectionLost, match="is it a Redis"):
        reader(nonsense).read()


def address(url: str, ssl: Any = False, **options: Any) -> Address | None:
    client = KombuConnection(url, transport=Transport, ssl=ssl)
    channel = Transport.Channel.__new__(Transport.Channel)
    channel.connection = client.transport
    for name, value in options.items():
        setattr(channel, name, value)
    return address_of(channel)


def test_a_url_is_read_as_kombu_reads_it() -> None:
    found = address("redis://anna:geh%2Feim@h:1/2", socket_timeout=3, socket_keepalive=True)
    assert found is not None
    assert (found.host, found.port, found.db, found.username, found.password) == ("h", 1, 2, "anna", "geh/eim")
    assert (found.timeout, found.connect_timeout, found.keepalive, str(found)) == (3, 5.0, True, "h:1")
    local = address("redis+socket:///tmp/r.sock?virtual_host=3")
    assert local is not None
    assert (local.path, local.db) == ("/tmp/r.sock", 3)
    assert address("redis://") == Address("127.0.0.1", 6379, timeout=5.0, connect_timeout=5.0)
    with pytest.raises(ValueError, match="not '/mine'"):
        database("/mine")


def test_what_only_redis_py_can_is_left_to_it() -> None:
    assert address("rediss://h/0", ssl={"ssl_cert_reqs": "required"}) is None
    assert address("redis+socket:///tmp/r.sock?health_check_interval=5") is None


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


def test_redis_py_is_not_imported_where_it_is_not_needed(url: str) -> None:
    code = f"""
import sys
from kombu import Connection, Consumer, Queue
with Connection({url!r}, transport="bootsteps_transport_redis:Transport") as con:
    with Consumer(con.channel(), [Queue("letters")], on_message=print):
        try:
            con.drain_events(timeout=0.1)
        except TimeoutError:
            print(sorted({{"redis", "asyncio"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
