"""The ways to a server: TLS, a Unix socket, and what cannot be one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootsteps.errors import KernelError, SettingError
from bootsteps_result_redis import RedisBackend
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
from services import ask, free_port, spawn, stop, until_ready
from workers import until


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The TLS port of a server, and the folder with its socket `s` and its certificate `cert.pem`."""
    for program in ("redis-server", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; try: apt-get install redis-server openssl")
    folder = tmp_path_factory.mktemp("r")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(openssl, check=True, capture_output=True)
    port, plain = free_port(), free_port()
    words = ["--port", str(plain), "--bind", "127.0.0.1", "--save", "", "--unixsocket", str(folder / "s")]
    tls = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name in ("cert", "key"):
        tls += [f"--tls-{name}-file", str(folder / f"{name}.pem")]
    server = [spawn(["redis-server", *words, *tls, "--dir", str(folder)], folder / "redis.log")]
    try:
        ours = f"process_id:{server[0].pid}\r\n".encode()
        until_ready(server, folder / "redis.log", 20.0, lambda: ours in ask(plain, b"INFO server\r\n"))
        yield port, folder
    finally:
        stop(server)


def use(url: str) -> None:
    backend = RedisBackend(App("proj"), url)
    try:
        backend.store([meta("a", "SUCCESS", 1)])
        assert backend.wait(["b"], 0.02) == {}
        assert backend.wait(["a", "b"], 30)["a"]["result"] == 1
        backend.forget("a")
    finally:
        backend.close()


def test_tls_is_spoken_and_certificates_are_checked(private: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_result_redis import backend as module

    port, folder = private
    use(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={folder}/cert.pem")
    use(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={folder}/cert.pem")
    use(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none&ssl_check_hostname=false")
    monkeypatch.setattr(module, "DEADLINE_S", 0.1)
    with pytest.raises(KernelError, match=r"cannot be used: .*[Cc]ertificate"):
        use(f"rediss://127.0.0.1:{port}/0")


def test_a_unix_socket_is_used(private: tuple[int, Path]) -> None:
    use(f"redis+socket://{private[1]}/s?virtual_host=3")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[str, int, subprocess.Popen[bytes]]]:
    """The URL of a sentinel, the port of a replica, and the process of the master `mine`."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; try: apt-get install redis-server")
    master, replica, own = free_port(), free_port(), free_port()
    usual = ["--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path), "--repl-diskless-sync-delay", "0"]
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        f"port {own}\nsentinel monitor mine 127.0.0.1 {master} 1\nsentinel down-after-milliseconds mine 500\n"
        "sentinel failover-timeout mine 4000\n"
    )
    processes = []

    def start(port: int, *words: str) -> None:
        process = spawn([program, *words], tmp_path / f"{port}.log")
        processes.append(process)
        ours = f"process_id:{process.pid}\r\n".encode()
        until_ready([process], tmp_path / f"{port}.log", 20.0, lambda: ours in ask(port, b"INFO server\r\n"))

    try:
        start(master, "--port", str(master), *usual)
        start(replica, "--port", str(replica), "--replicaof", "127.0.0.1", str(master), *usual)
        until(lambda: b"master_link_status:up" in ask(replica, b"INFO replication\r\n"), "the replica")
        start(own, str(conf), "--sentinel")
        until(lambda: b"slaves=1" in ask(own, b"INFO sentinel\r\n"), "what the sentinel knows", 40)
        yield f"sentinel://nobody.invalid:1;sentinel://127.0.0.1:{own}/3", replica, processes[0]
    finally:
        stop(processes)


def test_sentinel_names_the_master_also_when_that_is_another_one(
    watched: tuple[str, int, subprocess.Popen[bytes]],
) -> None:
    url, replica, master = watched
    app = App("proj", result_backend=url, result_backend_transport_options={"master_name": "mine"})
    backend = RedisBackend(app, url)
    backend.store([meta("a", "SUCCESS", 1)])
    assert backend.wait(["a"], 30)["a"]["result"] == 1
    until(lambda: b":1" in ask(replica, b"SELECT 3\r\nEXISTS celery-task-meta-a\r\n"), "the copy")
    master.kill()
    master.wait()

    def again() -> bool:
        try:
            backend.store([meta("b", "SUCCESS", 2)])
        except KernelError:  # the election takes longer than a backend tries
            return False
        return True

    until(again, "the new master", 60)
    assert backend.wait(["b"], 30)["b"]["result"] == 2
    assert backend.get_many(["a"])["a"]["result"] == 1  # what the old one had
    backend.close()
    app.close()


def test_a_master_must_be_named() -> None:
    with pytest.raises(SettingError, match="master_name in result_backend_transport_options says which"):
        RedisBackend(App("proj"), "sentinel://:secret@h1:26379;sentinel://:secret@h2/0")


@pytest.mark.parametrize("query", ["ssl_cert_reqs=maybe", "no_such_parameter=1", "socket_timeout=soon"])
def test_a_parameter_that_is_none_is_told(query: str) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        RedisBackend(App("proj"), f"rediss://:secret@host/0?{query}")


@pytest.mark.parametrize("query", ["no_such_parameter=1", "socket_timeout=soon", "socket_timeout=0"])
def test_so_is_one_of_a_server_in_the_clear(query: str) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        RedisBackend(App("proj"), f"redis://:secret@host/0?{query}")


@pytest.mark.parametrize("mark", "/?#")
def test_a_password_that_is_not_quoted_is_not_told_in_parts(mark: str) -> None:
    with pytest.raises(SettingError, match="cannot be read: in a password write") as caught:
        RedisBackend(App("proj"), f"redis://:secret{mark}tail@host/0")
    assert "secret" not in str(caught.value)
    assert "tail" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"socket_timeout": "soon"}, {"socket_connect_timeout": 0}, {"global_keyprefix": 1}]
)
def test_an_option_that_is_none_is_told(options: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=f"result_backend_transport_options.*{next(iter(options))}"):
        RedisBackend(App("proj", result_backend_transport_options=options), "redis://host/0")


def test_a_server_that_became_a_replica_is_asked_no_more() -> None:
    """Behind one name another server may be the master by now: a new connection finds it, the old one never."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in (b"-READONLY You can't write against a read only replica.\r\n", b":1\r\n"):
                near, _ = listening.accept()
                accepted.append(near)
                near.recv(4096)
                near.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        backend = RedisBackend(App("proj"), f"redis://127.0.0.1:{listening.getsockname()[1]}/0?socket_timeout=2")
        backend.forget("a")
        thread.join(10)
        backend.close()
    assert len(accepted) == 2
    assert accepted[0].recv(1) == b""  # hung up
    for near in accepted:
        near.close()
