"""How a worker's process ends: what it says of it, how soon, as PID 1 of a namespace; and what signals show of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from workers import WorkerProcess, running_worker, until

PROJ = """
    import os, subprocess, time
    from bootsteps_tasks import App
    app = App("proj")

    def note(word, name):
        fd = os.open("notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, f"{word} {name}\\n".encode())
        os.close(fd)

    def work(name, seconds):
        note("start", name)
        time.sleep(seconds)
        note("end", name)
        return name

    @app.task
    def late(name, seconds):
        return work(name, seconds)

    @app.task(acks_late=False)
    def early(name, seconds):
        return work(name, seconds)

    @app.task
    def hold(name):
        note("start", name)
        while not os.path.exists("go"):
            time.sleep(0.01)
        note("end", name)

    @app.task
    def orphan():
        subprocess.run(["sh", "-c", "sleep 1 & echo $!"], check=True, stdout=subprocess.DEVNULL)
"""
FULL = bool(os.environ.get("TEST_FULL_SHUTDOWN"))


def notes(folder: Path) -> Counter[str]:
    path = folder / "notes"
    return Counter(path.read_text().splitlines() if path.exists() else ())


def test_one_line_tells_what_was_finished_and_what_came_back(tmp_path, client):
    with running_worker(tmp_path, "-c", "2", "-l", "INFO", "--prefetch-multiplier", "4", app=PROJ) as worker:
        client.send_task("proj.hold", ["a"])
        client.send_task("proj.late", ["long", 600.0])
        until(lambda: len(notes(tmp_path)) == 2, "both")
        for number in range(3):
            client.send_task("proj.late", [f"waits-{number}", 0.0])
        worker.until_logged("received", 5)
        worker.signal(signal.SIGTERM)
        worker.until_logged("still running: 2")
        (tmp_path / "go").touch()
        worker.until_logged("succeeded")
        worker.signal(signal.SIGTERM)  # the second one hurries
        assert worker.wait() == 0
        line = "stopped; tasks finished meanwhile: 1; given back: 3 had not started, 1 ran"
        assert worker.log.count(line) == 1, worker.log
    assert notes(tmp_path) == Counter(["start a", "end a", "start long"])


@pytest.mark.parametrize(
    ("signals", "cold"),
    [([signal.SIGTERM], False), ([signal.SIGINT], False), ([signal.SIGQUIT], True), ([signal.SIGINT] * 2, True)],
)
def test_which_signal_is_warm_and_which_is_cold(tmp_path, client, signals, cold):
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", app=PROJ) as worker:
        client.send_task("proj.late", ["a", 600.0 if cold else 1.0])
        until(lambda: notes(tmp_path)["start a"], "the task")
        for number in signals:
            worker.signal(number)
            worker.until_logged("shutdown")  # two that come at one time are one
        assert worker.wait() == 0
        assert ("cold shutdown" in worker.log, notes(tmp_path)["end a"]) == (cold, 0 if cold else 1)


def test_term_can_mean_quit(tmp_path, client, monkeypatch):
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", app=PROJ) as worker:
        client.send_task("proj.late", ["a", 60.0])
        until(lambda: notes(tmp_path)["start a"], "the task")
        assert worker.stop() == 0
        assert "given back: 0 had not started, 1 ran" in worker.log


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_usr1_shows_where_the_parent_and_its_children_are(tmp_path, client, method):
    words = ["-c", "2", "-l", "INFO", "--pool-start-method", method]
    with running_worker(tmp_path, *words, app=PROJ) as worker:
        client.send_task("proj.late", ["a", 20.0])
        until(lambda: notes(tmp_path)["start a"], "the task")
        worker.signal(signal.SIGUSR1)
        worker.until_logged(f"SIGUSR1: the threads of process {worker.process.pid}")
        worker.until_logged("in work\n    time.sleep(seconds)")
        worker.until_logged("SIGUSR1: the threads of process", 2)
        assert "== MainThread (" in worker.log
        assert "== control-socket (" in worker.log
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0


def test_usr2_opens_a_debugger_in_the_worker_and_in_a_child(tmp_path, client):
    pytest.importorskip("bootsteps_debugger")
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", app=PROJ) as worker:
        [child] = worker.children()
        assert client.send_task("proj.late", ["a", 0]).get(timeout=30) == "a"  # so it listens by now
        for pid in (worker.process.pid, child):
            os.kill(pid, signal.SIGUSR2)
            worker.until_logged(f"in process {pid}: nc 127.0.0.1 ")
            port = int(worker.log.rpartition("nc 127.0.0.1 ")[2].split()[0])
            with socket.create_connection(("127.0.0.1", port), timeout=30) as debugger:
                debugger.sendall(b"p __import__('os').getpid()\nc\n")
                said = b""
                while got := debugger.recv(4096):
                    said += got
            assert f"{pid}\n".encode() in said
        assert client.send_task("proj.late", ["b", 0]).get(timeout=30) == "b"
        assert worker.stop() == 0


def test_signals_that_nothing_heeds_do_no_harm(tmp_path, client):
    words = ["-c", "1", "-l", "INFO", "--without", "Restart", "--without", "Debugger"]
    with running_worker(tmp_path, *words, app=PROJ) as worker:
        for number in (signal.SIGHUP, signal.SIGUSR2):
            worker.signal(number)
            worker.until_logged(f"{number.name} is ignored")
        assert client.send_task("proj.late", ["a", 0]).get(timeout=30) == "a"
        assert worker.stop() == 0


# PID 1 of a namespace, as in a container.

#: Seconds: three lengths of tasks, the grace period, and when KILL would come.
SHORT, MIDDLE, LONG, GRACE, LIMIT = (1.0, 20.0, 120.0, 25.0, 30.0) if FULL else (0.5, 1.5, 20.0, 8.0, 25.0)
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class Contained(WorkerProcess):
    """The process is `unshare`."""

    #: The number here of what is PID 1 there.
    first: int


@pytest.fixture
def contained(tmp_path, client):
    """A worker that is PID 1 of a namespace."""
    try:
        subprocess.run([*UNSHARE, "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as exc:
        pytest.skip(f"no PID namespace can be made here ({exc}): needs root, or unprivileged user namespaces")
    (tmp_path / "proj.py").write_text(textwrap.dedent(PROJ))
    path = tmp_path / "contained.log"
    words = ["-A", "proj", "worker", "-l", "INFO", "-c", "7", "--prefetch-multiplier", "4", f"--grace={GRACE}"]
    env = dict(os.environ, XDG_STATE_HOME=str(tmp_path / "state"), PYTHONUNBUFFERED="1")
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*UNSHARE, sys.executable, "-m", "bootsteps", *words], cwd=tmp_path, env=env, stdout=log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    worker = Contained.__new__(Contained)
    worker.path, worker.process = path, process
    try:
        worker.until_logged(" ready.")
        [worker.first] = worker.children()
        yield worker
    finally:
        if process.poll() is None:
            process.kill()  # and with it all in the namespace (--kill-child)
            process.wait()


def children(pid: int) -> list[str]:
    """The states of the children of a process: S, R, Z, ..."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it was reaped meanwhile
            found.append(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0])
    return found


@pytest.mark.timeout(600 if FULL else 300)
def test_as_pid_1_it_ends_before_the_kill_and_loses_and_repeats_nothing(tmp_path, contained, client):
    lengths = {"short": SHORT, "middle": MIDDLE, "long": LONG}
    sent = {}
    for kind in ("late", "early"):
        for name, seconds in lengths.items():
            sent[f"{kind}-{name}"] = client.send_task(f"proj.{kind}", [f"{kind}-{name}", seconds])
    blocker = client.send_task("proj.late", ["blocker", MIDDLE])
    until(lambda: sum(word.startswith("start") for word in notes(tmp_path)) == 7, "every start")
    waiting = [client.send_task("proj.late", [f"waits-{number}", 0.0]) for number in range(5)]
    began = time.monotonic()
    os.kill(contained.first, signal.SIGTERM)
    assert contained.wait(LIMIT) == 0
    assert time.monotonic() - began < LIMIT
    ran = notes(tmp_path)
    assert {f"end {kind}-{name}" for kind in ("late", "early") for name in ("short", "middle")} <= set(ran)
    assert not {"end late-long", "end early-long"} & set(ran)
    assert "1 ran" in contained.log
    with running_worker(tmp_path, "-c", "4", "-l", "INFO", app=PROJ) as worker:
        assert sent["late-long"].get(timeout=LONG + 60) == "late-long"
        assert [result.get(timeout=30) for result in (blocker, *waiting)][1:] == [f"waits-{n}" for n in range(5)]
        for name in ("late-short", "late-middle", "early-short", "early-middle"):
            assert sent[name].get(timeout=30) == name
        assert worker.stop() == 0
    starts = {word.removeprefix("start "): count for word, count in notes(tmp_path).items() if word.startswith("start")}
    assert {name: count for name, count in starts.items() if count > 1} == {"late-long": 2}
    assert len(starts) == 12
    assert sent["early-long"].state == "FAILURE"  # at most once was asked for, and its caller gets to know


def test_as_pid_1_it_hands_signals_on_and_reaps_orphans(tmp_path, contained, client):
    os.kill(contained.first, signal.SIGUSR1)
    contained.until_logged("SIGUSR1: the threads of process")
    before = len(children(contained.first))
    for _ in range(3):
        client.send_task("proj.orphan").get(timeout=30)
    until(lambda: len(children(contained.first)) == before, "the end of the orphans, reaped")
    os.kill(contained.first, signal.SIGTERM)
    assert contained.wait() == 0


def test_the_status_of_a_killed_worker_is_that_of_its_container(contained):
    [worker] = Path(f"/proc/{contained.first}/task/{contained.first}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    assert contained.wait() == 128 + signal.SIGKILL
