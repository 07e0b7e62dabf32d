"""Private servers for tests: Redis, RabbitMQ, PostgreSQL on free loopback ports, gone without a trace.

Never the default ports: a machine that has these packages may run the system's own servers there.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["ServerFailed", "ServerMissing", "postgresql_server", "rabbitmq_server", "rabbitmqctl", "redis_server"]

#: The package's wrapper in /usr/sbin insists on the user rabbitmq; the script that it calls does not.
RABBITMQ = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/local/sbin/rabbitmq-server")
REDIS_LIMIT_S = 20.0  # boots in 0.05 s
RABBITMQ_LIMIT_S = 90.0  # boots in 3-5 s
STOP_LIMIT_S = 10.0
ATTEMPTS = 3  # somebody else may take a port between our choice and the server's start


class ServerMissing(Exception):
    """The program is not installed; the text says what to install."""


class ServerFailed(Exception):
    """The program ended or did not answer in time; the text ends with its log."""


class PortTaken(ServerFailed):
    """Another process was faster with one of the ports: choose others."""


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a redis-server without persistence; yield its URL. `folder` takes the log.

    Raises ServerMissing or ServerFailed.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise ServerMissing("redis-server is not installed; try: apt-get install redis-server")
    url, processes = retried(lambda: start_redis(program, folder))
    try:
        yield url
    finally:
        stop(processes)


@contextmanager
def rabbitmq_server(folder: Path, arguments: str = "") -> Iterator[str]:
    """Run a RabbitMQ node with its own port mapper (epmd); yield its URL. `folder` takes all its files.

    `arguments`: further ones for Erlang, as `-rabbit consumer_timeout 2000`.

    Raises ServerMissing or ServerFailed.
    """
    program = next((path for path in RABBITMQ if os.access(path, os.X_OK)), None)
    mapper = shutil.which("epmd")
    if program is None or mapper is None:
        raise ServerMissing("RabbitMQ is not installed; try: apt-get install rabbitmq-server")
    url, processes = retried(lambda: start_rabbitmq(program, mapper, folder, arguments))
    try:
        yield url
    finally:
        stop(processes)


@contextmanager
def postgresql_server(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL without durability; yield the URL of its database `postgres`. `folder` takes the log.

    Raises ServerMissing or ServerFailed.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    found = shutil.which("postgres") or (programs and str(programs[-1]))
    if not found:
        raise ServerMissing("PostgreSQL is not installed; try: apt-get install postgresql")
    data = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's folders are closed to other users
    try:
        url, processes = retried(lambda: start_postgresql(Path(found).parent, data, folder))
        try:
            yield url
        finally:
            stop(processes)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def rabbitmqctl(url: str, *words: str) -> str:
    """Run the tool of the RabbitMQ at a URL, in that server's environment; return what it prints."""
    found = f"RABBITMQ_NODE_PORT={urlsplit(url).port}".encode()
    environments = (_read(path) for path in Path("/proc").glob("[0-9]*/environ"))
    lines = next((text for text in environments if found in text.split(b"\0")), b"")
    program = shutil.which("rabbitmqctl", path="/usr/lib/rabbitmq/bin") or shutil.which("rabbitmqctl")
    if not lines or not program:
        raise ServerMissing("rabbitmqctl, or the server's environment, cannot be found")
    env = dict(line.decode().partition("=")[::2] for line in lines.split(b"\0") if b"=" in line)
    command = [program, "-q", "-n", env["RABBITMQ_NODENAME"], *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


Started = tuple[str, list["subprocess.Popen[bytes]"]]


def retried(start: Callable[[], Started]) -> Started:
    for _ in range(ATTEMPTS - 1):
        try:
            return start()
        except PortTaken:
            continue
    return start()


def start_redis(program: str, folder: Path) -> Started:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = folder / "redis.log"
    process = spawn([program, *options, "--dir", str(folder)], log)
    ours = f"process_id:{process.pid}\r\n".encode()  # an answer of somebody else's server does not count
    until_ready([process], log, REDIS_LIMIT_S, lambda: ours in ask(port, b"INFO server\r\n"))
    return f"redis://127.0.0.1:{port}/0", [process]


def start_rabbitmq(program: str, mapper_program: str, folder: Path, arguments: str = "") -> Started:
    port, distribution, mapping = free_port(), free_port(), free_port()
    node_name = f"test{port}@localhost"
    folder.joinpath("plugins").write_text("[].\n")
    folder.joinpath("rabbitmq.conf").write_text(
        f"cluster_name = {node_name}\ndisk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 512MB\n"
    )
    env = dict(
        os.environ,
        HOME=str(folder),  # the cookie, so that no other node of this user is met
        ERL_EPMD_ADDRESS="127.0.0.1",
        ERL_EPMD_PORT=str(mapping),
        RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq"),
        RABBITMQ_DIST_PORT=str(distribution),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "plugins"),
        RABBITMQ_LOG_BASE=str(folder / "log"),
        RABBITMQ_MNESIA_BASE=str(folder / f"mnesia-{port}"),
        RABBITMQ_NODENAME=node_name,
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(port),
        RABBITMQ_PID_FILE=str(folder / "pid"),
        # The schedulers would spin while idle and take the cores from what is being tested.
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none " + arguments,
    )
    log = folder / f"rabbitmq-{port}.log"
    # The node would start a mapper of its own as a daemon and leave it behind, so ours comes first.
    mapper = spawn([mapper_program, "-port", str(mapping), "-address", "127.0.0.1"], log, env)
    mapped = mapping.to_bytes(4, "big")  # its answer to a request for names begins with its own port
    until_ready([mapper], log, REDIS_LIMIT_S, lambda: ask(mapping, b"\0\1n").startswith(mapped))
    processes = [spawn([program], log, env), mapper]
    # Its first frame, Connection.Start, tells the cluster's name.
    hello, ours = b"AMQP\0\0\x09\x01", node_name.encode()
    until_ready(processes, log, RABBITMQ_LIMIT_S, lambda: ours in ask(port, hello))
    return f"amqp://guest:guest@127.0.0.1:{port}//", processes


def start_postgresql(programs: Path, data: Path, folder: Path) -> Started:
    port, log = free_port(), folder / "postgresql.log"
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to be root
    if not (data / "base").exists():
        if user:
            shutil.chown(data, user)
        made = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
        done = subprocess.run(made, user=user, cwd=data, capture_output=True, text=True)
        if done.returncode:
            raise ServerFailed(f"initdb failed\n{done.stdout}{done.stderr}")
    options = ["-D", str(data), "-p", str(port), "-k", str(data), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    process = spawn([str(programs / "postgres"), *options], log, user=user)
    ours = data / "postmaster.pid"
    until_ready([process], log, REDIS_LIMIT_S, lambda: ours.exists() and "ready" in ours.read_text().split("\n")[-2])
    return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", [process]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def spawn(
    command: list[str], log: Path, env: dict[str, str] | None = None, user: str | None = None
) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own (a Ctrl-C is for the tests) that writes to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            user=user,
            cwd="/" if user else log.parent,
            start_new_session=True,
        )


def ask(port: int, question: bytes) -> bytes:
    """Send bytes to a loopback port; return the first part of the answer, nothing if there is none yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as sock:
            sock.sendall(question)
            return sock.recv(65536)
    except OSError:
        return b""


def until_ready(
    processes: list["subprocess.Popen[bytes]"], log: Path, limit_s: float, ready: Callable[[], bool]
) -> None:
    """Wait until `ready`; whatever ends the wait otherwise (a Ctrl-C, too) also ends the processes.

    Raises PortTaken or ServerFailed.
    """
    deadline = time.monotonic() + limit_s
    try:
        while not ready():
            ended = [process for process in processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise failure(ended[0] if ended else None, log, limit_s)
            time.sleep(0.02)  # between two questions, never instead of one
    except BaseException:
        stop(processes)
        raise


def failure(ended: "subprocess.Popen[bytes] | None", log: Path, limit_s: float) -> ServerFailed:
    text = log.read_text(errors="replace")
    if ended is None:
        return ServerFailed(f"no answer in {limit_s:g} s; the log ends:\n{text[-2000:]}")
    taken = "address already in use" in text.lower() or "eaddrinuse" in text.lower()
    kind = PortTaken if taken else ServerFailed
    return kind(f"it ended with status {ended.returncode}; its log ends:\n{text[-2000:]}")


def stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    """End the process groups in this order: TERM, and KILL for one that takes too long."""
    for process in processes:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            try:
                process.wait(STOP_LIMIT_S)
                break
            except subprocess.TimeoutExpired:
                continue
