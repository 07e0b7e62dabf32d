"""Health of real workers: what makes one not live, what makes it not ready, and what a probe costs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cable import Cable
from services import free_port
from workers import TASKS, WorkerProcess, running_worker, until

pytest.importorskip("bootsteps_health")

#: How long something may be wrong in these tests, seconds.
LIMIT = "--health-limit=3"


def health(worker: WorkerProcess, check: str) -> tuple[int, dict[str, Any]]:
    """Ask as a probe does; return the exit status and the answer."""
    words = [sys.executable, "-m", "bootsteps", "health", check, str(worker.process.pid), "--json", "-t", "30"]
    done = subprocess.run(words, text=True, capture_output=True, timeout=60)
    return done.returncode, json.loads(done.stdout or "{}")


def is_so(worker: WorkerProcess, check: str) -> bool:
    return health(worker, check)[0] == 0


def test_a_worker_says_how_it_is_by_its_socket_and_by_http(tmp_path: Path) -> None:
    port = free_port()
    with running_worker(tmp_path, "-c", "1", f"--health-address={port}") as worker:
        for check in ("live", "ready", "startup"):
            until(lambda check=check: is_so(worker, check), check)  # type: ignore[misc]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{check}z", timeout=30) as page:
                assert json.load(page)["pid"] == worker.process.pid
        assert worker.stop() == 0
        assert health(worker, "live")[0] == 2
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=30)


def test_a_broker_that_is_away_makes_a_worker_unready_and_never_dead(tmp_path: Path, redis_url: str) -> None:
    cable = Cable(f"{redis_url.rpartition('/')[0]}/11")
    queue = f"--queues=health-{os.getpid()}-{tmp_path.name}"
    with running_worker(tmp_path, "-c", "1", LIMIT, queue, broker=cable.url) as worker:
        until(lambda: is_so(worker, "ready"), "ready")
        cable.cut()
        until(lambda: not is_so(worker, "ready"), "unready")
        worker.until_logged("trying again", times=5)  # some seconds, longer than the limit
        status, answer = health(worker, "ready")
        assert (status, answer["reasons"]) == (1, ["not connected to the broker"])
        until(lambda: is_so(worker, "live"), "live")
        assert is_so(worker, "startup")
        cable.mend()
        until(lambda: is_so(worker, "ready"), "ready again")


def test_a_worker_that_starts_without_its_broker_has_started_and_is_not_ready(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "1", LIMIT, broker=f"redis://127.0.0.1:{free_port()}/0") as worker:
        worker.until_logged("trying again", times=3)
        until(lambda: is_so(worker, "startup"), "the end of the boot")
        until(lambda: is_so(worker, "live"), "live")
        assert not is_so(worker, "ready")


HANGS = """
    @app.hooks.connect("task_received")
    def hang(name):
        if name == "proj.add":
            time.sleep(600)
"""


def test_a_loop_that_hangs_is_not_live(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "1", LIMIT, app=TASKS + HANGS) as worker:
        until(lambda: is_so(worker, "live"), "live")
        send(tmp_path, "proj.add", 1, 2)
        until(lambda: not is_so(worker, "live"), "dead")
        assert "the loop has not turned for" in health(worker, "live")[1]["reasons"][0]
        assert not is_so(worker, "ready")


def test_a_solo_worker_that_runs_a_long_task_lives(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with running_worker(tmp_path, "-P", "solo", LIMIT) as worker:
        send(tmp_path, "proj.nap", 9, str(mark))
        until(mark.exists, "the start")
        seen = []

        def is_quiet() -> bool:
            seen.append(is_so(worker, "live"))
            return worker.log.count("succeeded") > 0

        until(is_quiet, "the end of the task", 60)
        assert all(seen)


STUCK = """
    @app.hooks.connect("worker_process_init")
    def stick(hostname):
        time.sleep(600)
"""


def test_a_pool_whose_children_are_stuck_at_their_start_is_not_live(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "2", LIMIT, app=TASKS + STUCK) as worker:
        until(lambda: not is_so(worker, "live"), "dead")
        assert "no child of 2 is ready" in health(worker, "live")[1]["reasons"][0]


def test_a_busy_pool_lives(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with running_worker(tmp_path, "-c", "1", LIMIT) as worker:
        send(tmp_path, "proj.nap", 8, str(mark))
        until(mark.exists, "the start")
        until(lambda: "succeeded" in worker.log or not is_so(worker, "live"), "the end of the task", 60)
        assert "succeeded" in worker.log


def send(folder: Path, name: str, *args: object) -> None:
    """Send a task by the embedded broker of a worker in this folder."""
    program = f"from proj import app; app.send_task({name!r}, args={args!r})"
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, "-c", program], env=env, cwd=folder, check=True, timeout=60)


def test_a_probe_imports_next_to_nothing(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "1") as worker:
        words = ["-X", "importtime", "-m", "bootsteps", "health", "live", str(worker.process.pid)]
        done = subprocess.run([sys.executable, *words], text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {name for name in loaded if name.startswith("bootsteps")}
    assert ours == {"bootsteps", "bootsteps.program", "bootsteps_health", "bootsteps_health.probe"}
    assert not loaded & {"click", "pluggy", "networkx", "kombu", "logging", "inspect", "asyncio", "bootsteps_tasks"}


def cpu_s(*words: str) -> float:
    """Return the CPU seconds of the cheapest of many calls."""

    def used() -> float:
        found = resource.getrusage(resource.RUSAGE_CHILDREN)
        return found.ru_utime + found.ru_stime

    times = []
    for _ in range(15):
        before = used()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, timeout=60)
        times.append(used() - before)
    return min(times)


def test_a_probe_costs_little_more_than_the_interpreter(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "1") as worker:
        pid = str(worker.process.pid)
        probe, bare = cpu_s("-m", "bootsteps", "health", "live", pid), cpu_s("-c", "import socket, json")
    assert probe < max(0.05, 1.5 * bare)
