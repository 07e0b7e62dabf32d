"""Every command line of the two guides, with `celery` replaced by `kernel`, in a shell of its own.

The lines are those of docs/guide-lines.md. Tests change only the folder `/var/run/celery`, which may not be ours.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootsteps_tasks import App
from test_features import fault_of_test
from workers import until

pytest.importorskip("bootsteps_multi")
pytest.importorskip("bootsteps_standard")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "guide-lines.md"
ROW = re.compile(r"^\| `(?P<line>[^`]+)` \| (?P<test>\S+)", re.MULTILINE)
PROJ = """
    import os
    from bootsteps import control_command, inspect_command
    from bootsteps_tasks import App
    app = App("proj")

    @app.task
    def whoami():
        return os.getpid()

    @app.task(queue="bar")
    def barred():
        return "from bar"

    @control_command(
        args=[('n', int)],
        signature='[N=1]',
    )
    def increase_prefetch_count(state, n=1):
        state.consumer.qos.increment_eventually(n)
        return {'ok': 'prefetch count incremented'}

    @inspect_command()
    def current_prefetch_count(state):
        return {'prefetch_count': state.consumer.qos.value}
"""


class Shell:
    """Runs command lines in a folder with an application and its own embedded broker."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        (folder / "proj.py").write_text(textwrap.dedent(PROJ))
        (folder / "var-run").mkdir()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self.env = dict(os.environ, PATH=path, XDG_STATE_HOME=str(folder / "state"), PYTHONUNBUFFERED="1", **env)
        self.started = 0

    def __call__(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line to its end."""
        return subprocess.run(
            ["sh", "-c", self.here(line)], cwd=self.folder, env=self.env, text=True, capture_output=True, timeout=100,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def says(self, line: str) -> str:
        """Run a line that shall succeed, and return what it prints."""
        done = self(line)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def here(self, line: str) -> str:
        return line.replace("/var/run/celery", str(self.folder / "var-run"))

    @contextmanager
    def worker(self, line: str, ready: str = " ready.") -> Iterator[Running]:
        """A line that goes on until it is ended."""
        self.started += 1
        log = self.folder / f"line-{self.started}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {self.here(line)}"], cwd=self.folder, env=self.env, stdout=out,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        running = Running(process, log)
        try:
            until(lambda: ready in running.log or process.poll() is not None, f"{ready!r} of {line}", 60)
            assert process.poll() is None, running.log
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Running:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """Sends to the embedded broker of the shell's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = App("proj")
    yield app
    app.close()


def listed() -> list[tuple[str, str]]:
    return [(row["line"], row["test"].strip("`").replace(r"\|", "|")) for row in ROW.finditer(PAGE.read_text())]


def test_the_page_names_for_each_line_a_test_that_has_it() -> None:
    rows = listed()
    assert len(rows) >= 30
    assert [fault for _, test in rows if (fault := fault_of_test(test))] == []
    source = Path(__file__).read_text()
    ours = [line.replace(r"\|", "|") for line, test in rows if test.startswith("tests/test_guide_lines.py")]
    assert [line for line in ours if line not in source] == []


def test_a_worker_in_the_foreground(shell: Shell, client: App) -> None:
    with shell.worker("kernel -A proj worker -l INFO") as worker:
        assert client.send_task("proj.whoami").get(60) != worker.process.pid
        assert "proj.whoami" in worker.log


def test_the_options_are_listed(shell: Shell) -> None:
    said = shell.says("kernel worker --help")
    for option in (
        "--hostname", "--loglevel", "--concurrency", "--logfile", "--pidfile", "--statedb", "--autoscale",
        "--time-limit", "--soft-time-limit", "--max-tasks-per-child", "--max-memory-per-child", "--queues",
    ):  # fmt: skip
        assert option in said


@pytest.mark.timeout(300)
def test_three_workers_on_one_machine_have_names_of_their_own(shell: Shell) -> None:
    host = socket.gethostname()
    with (
        shell.worker("kernel -A proj worker --loglevel=INFO --concurrency=10 -n worker1@%h"),
        shell.worker("kernel -A proj worker --loglevel=INFO --concurrency=10 -n worker2@%h"),
        shell.worker("kernel -A proj worker --loglevel=INFO --concurrency=10 -n worker3@%h"),
    ):
        names = [f"worker{number}@{host}" for number in (1, 2, 3)]

        def online() -> list[str]:
            return sorted(json.loads(shell("kernel -A proj status --json -t 10").stdout or "{}"))

        until(lambda: online() == names, "three names", 90)


@pytest.mark.parametrize(
    "find", ["pgrep -f 'kernel worker'", "ps auxww | awk '/kernel worker/ {print $2}'"], ids=["pkill", "ps"]
)
def test_what_does_not_end_is_found_by_its_command_line_and_killed(shell: Shell, find: str) -> None:
    """`pkill -9 -f 'kernel worker'` and `ps auxww | awk '/kernel worker/ {print $2}' | xargs kill -9`, of ours only."""
    if shutil.which(find.partition(" ")[0]) is None:
        pytest.skip("install procps")
    with shell.worker("kernel worker -A proj -l INFO -c 2") as worker:
        children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
        mine = {str(worker.process.pid), *children}
        found = mine & set(shell.says(find).split())  # other tests' workers are theirs to end
        assert str(worker.process.pid) in found
        shell(f"echo {' '.join(found)} | xargs kill -9")
        assert worker.process.wait(30) == -signal.SIGKILL
        until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in mine), "the end of the children")


def pids(shell: Shell) -> list[int]:
    return [int(path.read_text()) for path in sorted((shell.folder / "var-run").glob("*.pid"))]


@pytest.mark.timeout(300)
def test_multi_starts_restarts_and_hup_starts_anew(shell: Shell, client: App) -> None:
    try:
        shell.says("kernel multi start 1 -A proj -l INFO -c4 --pidfile=/var/run/celery/%n.pid")
        first = pids(shell)
        shell.says("kernel multi restart 1 --pidfile=/var/run/celery/%n.pid")
        (pid,) = pids(shell)
        assert [pid] != first
        log = shell.folder / "state" / "bootsteps" / "multi" / "celery1.log"
        until(lambda: log.read_text().count(" ready.") == 2, "ready")
        shell.env["pid"] = str(pid)
        shell.says("kill -HUP $pid")
        until(lambda: log.read_text().count(" ready.") == 3, "ready again", 60)
        assert pids(shell) == [pid]
        assert client.send_task("proj.whoami").get(60) not in (pid, None)
        shell.says("kill -TERM $pid")
        until(lambda: pids(shell) == [], "the end", 60)
    finally:
        shell("kernel multi kill 1 --pidfile=/var/run/celery/%n.pid")


@pytest.mark.timeout(300)
def test_revokes_outlive_a_worker(shell: Shell) -> None:
    line = "kernel -A proj worker -l INFO --statedb=/var/run/celery/worker.state"
    number = "d9078da5-9915-40a0-bfa1-392c7bde42ed"
    revoke = "kernel -A proj control revoke <task_id>"
    with shell.worker(line) as worker:
        until(lambda: "OK" in shell(revoke.replace("<task_id>", number) + " -t 10").stdout, "the revoke", 60)
        until(lambda: "flagged as revoked" in worker.log, "the word in the log")
    with shell.worker(line):
        until(lambda: number in shell("kernel -A proj inspect revoked -t 10").stdout, "the revoke, again", 60)


@pytest.mark.timeout(300)
def test_each_node_of_multi_has_a_state_file(shell: Shell) -> None:
    shell.env["KERNEL_APP"] = "proj"  # the line names no application
    (shell.folder / "var-run").rmdir()  # multi makes the folders that it names
    try:
        shell.says("kernel multi start 2 -l INFO --statedb=/var/run/celery/%n.state")
        assert sorted(path.name for path in (shell.folder / "var-run").glob("*.state")) == [
            "celery1.state", "celery2.state",
        ]  # fmt: skip
    finally:
        shell.says("kernel multi stopwait 2")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("-n worker1@example.com -c2 -f %n-%i.log", ["worker1-0.log", "worker1-1.log", "worker1-2.log"]),
        ("-n worker1@example.com -c2 -f %n%I.log", ["worker1-1.log", "worker1-2.log", "worker1.log"]),
        ("-n george@foo.example.com -c1 --logfile=%p.log", ["george@foo.example.com.log"]),
        ("-n george@foo.example.com -c1 --logfile=%h.log", ["foo.example.com.log"]),
        ("-n george@foo.example.com -c1 --logfile=%n.log", ["george.log"]),
        ("-n george@foo.example.com -c1 --logfile=%d.log", ["example.com.log"]),
    ],
)
def test_names_of_log_files_are_expanded(shell: Shell, options: str, names: list[str]) -> None:
    def logs() -> list[str]:
        return sorted(path.name for path in shell.folder.glob("*.log") if not path.name.startswith("line-"))

    with shell.worker(f"kernel -A proj worker -l INFO {options}", ready=""):
        until(lambda: logs() == names, "the log files", 60)
        main = min(names, key=len) if "%I" in options else names[0]
        until(lambda: " ready." in (shell.folder / main).read_text(), "ready", 60)
    assert logs() == names


def test_the_pool_grows_and_shrinks_by_load(shell: Shell) -> None:
    with shell.worker("kernel -A proj worker -l INFO --autoscale=10,3"):

        def limits() -> object:
            said = shell("kernel -A proj inspect stats --json -t 10").stdout
            return [
                (node["autoscaler"]["max"], node["autoscaler"]["min"]) for node in json.loads(said or "{}").values()
            ]

        until(lambda: limits() == [(10, 3)], "the limits", 60)


def test_the_boot_is_told_in_full(shell: Shell) -> None:
    with shell.worker("kernel -A proj worker --loglevel=debug") as worker:
        for text in ("Preparing bootsteps.", "Building graph...", "New boot order:", "^-- substep ok"):
            assert text in worker.log


def test_a_worker_consumes_from_the_queues_it_is_told(shell: Shell, client: App) -> None:
    with shell.worker("kernel -A proj worker -l INFO -Q foo,bar,baz"):
        assert client.send_task("proj.barred", queue="bar").get(60) == "from bar"
        said = shell.says("kernel -A proj inspect active_queues --json -t 10")
        assert [queue["name"] for queue in next(iter(json.loads(said).values()))] == ["foo", "bar", "baz"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A worker with the name that the guide's lines tell, and the guide's own commands."""
    shell = Shell(tmp_path_factory.mktemp("node"))
    with shell.worker("kernel -A proj worker -l INFO -n celery@worker1.local -c 1"):
        until(lambda: shell("kernel -A proj status -t 10").returncode == 0, "an answer", 60)
        yield shell


def queues(node: Shell) -> list[str]:
    said = node.says("kernel -A proj inspect active_queues --json -t 10")
    return [queue["name"] for queue in json.loads(said)["celery@worker1.local"]]


@pytest.mark.parametrize(
    ("add", "cancel"),
    [
        ("kernel -A proj control add_consumer foo", "kernel -A proj control cancel_consumer foo"),
        (
            "kernel -A proj control add_consumer foo -d celery@worker1.local",
            "kernel -A proj control cancel_consumer foo -d celery@worker1.local",
        ),
    ],
    ids=["all", "one"],
)
def test_consumers_are_added_and_cancelled(node: Shell, add: str, cancel: str) -> None:
    said = node.says(add + " -t 10")
    assert "celery@worker1.local: OK" in said
    until(lambda: queues(node) == ["celery", "foo"], "the queue", 60)
    assert "celery@worker1.local: OK" in node.says(cancel + " -t 10")
    until(lambda: queues(node) == ["celery"], "the end of the queue", 60)


@pytest.mark.parametrize(
    "line",
    ["kernel -A proj inspect active_queues", "kernel -A proj inspect active_queues -d celery@worker1.local"],
    ids=["all", "one"],
)
def test_queues_are_listed(node: Shell, line: str) -> None:
    assert "'name': 'celery'" in node.says(line + " -t 10")


def test_statistics_are_told(node: Shell) -> None:
    said = node.says("kernel -A proj inspect stats" + " -t 10")
    assert '"prefetch_count": 4' in said


def test_commands_of_ones_own_are_called(node: Shell) -> None:
    before = node.says("kernel -A proj inspect current_prefetch_count" + " -t 10")
    assert '"prefetch_count": 4' in before
    said = node.says("kernel -A proj control increase_prefetch_count 3" + " -t 10")
    assert "prefetch count incremented" in said
    until(
        lambda: '"prefetch_count": 7' in node.says("kernel -A proj inspect current_prefetch_count" + " -t 10"),
        "the new value", 60,
    )  # fmt: skip


def test_events_are_shown(node: Shell) -> None:
    """`kernel events`, one line for each event where there is no terminal."""
    with node.worker("kernel -A proj events", ready="") as events:
        until(lambda: "heartbeat" in events.log or "worker-online" in events.log, "an event", 60)
