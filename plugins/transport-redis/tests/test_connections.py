# mypy: disable-error-code="no-untyped-call"
"""Servers that are restarted, silent, locked, encrypted, elsewhere, or no Redis at all."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Producer, Queue

from bootsteps_transport_redis import SentinelTransport, SSLTransport, Transport
from services import free_port

Connect = Callable[..., Connection]
Drain = Callable[..., None]
Turn = Callable[..., None]
Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a redis-server with some options on a free port and return the port; None as the port is a free one."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; try: apt-get install redis-server")
    processes: list[subprocess.Popen[bytes]] = []

    def run(*options: str, port: int | None = None, listens: Callable[[int], bool] | None = None) -> int:
        chosen = port or free_port()
        words = [program, *options, "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
        if "--port" not in options:
            words += ["--port", str(chosen)]
        processes.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
        ends = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", chosen), 1):
                return chosen
            assert time.monotonic() < ends, "redis-server does not listen"
            time.sleep(0.01)

    run.processes = processes  # type: ignore[attr-defined]
    yield run
    for process in processes:
        process.kill()
        process.wait()


def works(connection: Any) -> bool:
    """Send a message by a connection and get it back."""
    got: list[Any] = []
    channel = connection.channel()
    Producer(channel).publish("hello", exchange="", routing_key="letters")
    with Consumer(channel, [Queue("letters")], on_message=got.append):
        connection.drain_events(timeout=5)
    connection.release()
    return [message.payload for message in got] == ["hello"]


def test_a_restart_raises_what_a_consumer_reconnects_for(start: Start, connect: Connect, drain: Drain) -> None:
    port = start("--appendonly", "yes", "--appendfsync", "always")
    url = f"redis://127.0.0.1:{port}/0"
    con = connect(url, lease=1)
    got: list[Any] = []
    Consumer(con.channel(), [Queue("letters")], on_message=got.append).consume()
    Producer(con.channel()).publish("before", exchange="", routing_key="letters")
    drain(con, got, 1)
    start.processes[0].kill()  # type: ignore[attr-defined]
    start.processes[0].wait()  # type: ignore[attr-defined]
    with pytest.raises(con.connection_errors):
        drain(con, got, 2)
    with pytest.raises(con.connection_errors):
        connect(url).connect()
    con.collect()
    start("--appendonly", "yes", port=port)
    again = connect(url, lease=1, visibility_timeout=1)  # sweeps once a quarter of a second
    got = []
    Consumer(again.channel(), [Queue("letters")], on_message=got.append).consume()
    Producer(again.channel()).publish("after", exchange="", routing_key="letters")
    with redis.Redis.from_url(url) as server:
        server.zadd("_bootsteps.leases", dict.fromkeys(server.zrange("_bootsteps.leases", 0, 0), 1))
    drain(again, got, 2)
    assert sorted(message.payload for message in got) == ["after", "before"]


class Hole:
    """A TCP proxy that can stop to forward, without a word."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.silent = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while got := one.recv(65536):
                if not self.silent:
                    other.sendall(got)
            other.close()

    def close(self) -> None:
        self._listening.close()


@pytest.mark.parametrize("consuming", ["messages", "fanout"])
def test_a_black_hole_is_found_out(start: Start, connect: Connect, hub: Any, turn: Turn, consuming: str) -> None:
    hole = Hole(start())
    con = connect(f"redis://127.0.0.1:{hole.port}/0", lease=1.5, socket_timeout=1)
    got: list[Any] = []
    con.register_with_event_loop(hub)
    from kombu import Exchange

    news = Queue("news", Exchange("news", type="fanout"), auto_delete=True)
    Consumer(con.channel(), [Queue("letters") if consuming == "messages" else news], on_message=got.append).consume()
    turn(1.0)
    hole.silent = True
    began = time.monotonic()
    with pytest.raises(con.connection_errors):
        turn(lambda: False)
    assert time.monotonic() - began < 5
    hole.close()


def test_a_password_is_needed_and_a_wrong_one_is_told(start: Start) -> None:
    port = start("--requirepass", "geheim", *["--user", "anna", "on", ">s3cret", "~*", "&*", "+@all"])
    assert works(Connection(f"redis://:geheim@127.0.0.1:{port}/0", transport=Transport))
    assert works(Connection(f"redis://anna:s3cret@127.0.0.1:{port}/0", transport=Transport))
    wrong = Connection(f"redis://anna:bad@127.0.0.1:{port}/0", transport=Transport)
    with pytest.raises(wrong.connection_errors, match="invalid username-password pair"):
        wrong.connect()


def test_a_server_that_cannot_wake_us_is_asked(start: Start, caplog: pytest.LogCaptureFixture, drain: Drain) -> None:
    port = start(*["--user", "anna", "on", ">s3cret", "~*", "&*", "+@all", "-client|tracking"])
    con = Connection(f"redis://anna:s3cret@127.0.0.1:{port}/0", transport=Transport)
    got: list[Any] = []
    Consumer(con.channel(), [Queue("letters")], on_message=got.append).consume()
    with pytest.raises(TimeoutError):
        con.drain_events(timeout=0.1)
    assert "cannot wake a consumer" in caplog.text
    Producer(con.channel()).publish("hello", exchange="", routing_key="letters")
    drain(con, got, 1, 2)
    con.release()


def test_a_unix_socket_will_do(start: Start, tmp_path: Path) -> None:
    start("--unixsocket", str(tmp_path / "r.sock"))
    assert works(Connection(f"redis+socket://{tmp_path}/r.sock", transport=Transport))


def test_tls(start: Start, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed; try: apt-get install openssl")
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
    start(*tls, "--port", "0", "--tls-auth-clients", "no", port=port)
    options = {"ssl_cert_reqs": "required", "ssl_ca_certs": cert}
    assert works(Connection(f"rediss://127.0.0.1:{port}/0", transport=Transport, ssl=options))
    untrusted = Connection(f"rediss://127.0.0.1:{port}/0", transport=Transport, ssl={"ssl_cert_reqs": "required"})
    with pytest.raises(untrusted.connection_errors):
        untrusted.connect()
    named = Connection(f"rediss://127.0.0.1:{port}/0", transport=SSLTransport, connect_timeout=2)
    with pytest.raises(named.connection_errors, match="CERTIFICATE_VERIFY_FAILED"):  # it asked for TLS, and checks
        named.connect()
    assert works(Connection(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=CERT_NONE", transport=SSLTransport))


def test_sentinel_names_the_master(start: Start, tmp_path: Path) -> None:
    port, own = start(), free_port()
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"port {own}\nsentinel monitor mymaster 127.0.0.1 {port} 1\n")
    program = shutil.which("redis-server")
    assert program is not None
    process = subprocess.Popen([program, str(conf), "--sentinel"], stdout=subprocess.DEVNULL, cwd=tmp_path)
    start.processes.append(process)  # type: ignore[attr-defined]
    ends = time.monotonic() + 20
    while True:
        with suppress(redis.RedisError), redis.Redis(port=own) as sentinel:
            if sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"):
                break
        assert time.monotonic() < ends
        time.sleep(0.05)
    url = f"sentinel://127.0.0.1:{own}/0"
    assert works(Connection(url, transport=SentinelTransport, transport_options={"master_name": "mymaster"}))


def test_what_is_no_redis_is_told() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with suppress(OSError):
            near, _ = listening.accept()
            while near.recv(4096):
                near.sendall(b"+OK\r\n" * 8)

    threading.Thread(target=answer, daemon=True).start()
    con = Connection(f"redis://127.0.0.1:{listening.getsockname()[1]}/0", transport=Transport)
    with pytest.raises(con.connection_errors):
        con.connect()
    listening.close()


def test_an_address_is_shown_without_the_password() -> None:
    assert Connection("redis://:geheim@h:1/2", transport=Transport).as_uri() == "redis://:**@h:1/2"
