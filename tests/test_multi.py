"""`kernel multi` with real workers: started, restarted under load, stopped; nothing lost and nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bootsteps_tasks import App
from workers import until

pytest.importorskip("bootsteps_multi")

PROJ = """
    import time
    from bootsteps_tasks import App
    app = App("proj")

    @app.task
    def mark(number, seconds=0.02):
        time.sleep(seconds)
        with open("marks", "a") as file:
            file.write(f"{number}\\n")
        return number
"""
FILES = ("--pidfile=run/%n.pid", "--logfile=run/%n%I.log")


class Many:
    """Runs `kernel multi` in a folder with an application."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = dict(os.environ, XDG_STATE_HOME=str(self.folder / "state"))
        return subprocess.run(
            [sys.executable, "-m", "bootsteps", "multi", *words], cwd=self.folder, env=env, text=True,
            capture_output=True, timeout=100, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def pids(self) -> list[int]:
        return [int(path.read_text()) for path in sorted(self.folder.glob("run/*.pid"))]

    def processes(self) -> list[str]:
        """The command lines of all processes that run in the folder."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "cwd") == str(self.folder):
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def marks(self) -> list[int]:
        path = self.folder / "marks"
        return list(map(int, path.read_text().split())) if path.exists() else []


@pytest.fixture
def many(tmp_path, monkeypatch):
    (tmp_path / "proj.py").write_text(textwrap.dedent(PROJ))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Many(tmp_path)
    yield made
    made("kill", "3", *FILES)


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to see what is left")
def test_three_nodes_are_started_restarted_under_load_and_stopped_and_nothing_is_lost_or_left(many):
    done = many("start", "3", "-A", "proj", "-l", "INFO", "-c", "2", "-c:3", "1", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    first = many.pids()
    assert len(first) == 3
    app = App("proj")
    sent = range(400)
    for number in sent:
        app.send_task("proj.mark", [number])
    until(lambda: len(many.marks()) > 20, "some of the work")
    done = many("restart", "3", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not set(first) & set(many.pids())
    until(lambda: set(many.marks()) == set(sent), "the rest of the work", 90)
    done = many("stopwait", "3", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(many.marks()) == list(sent)  # none twice, either: each was finished or given back
    app.close()
    until(lambda: many.processes() == [], "the end of every process")
    assert [path.name for path in many.folder.glob("run/*") if path.suffix != ".log"] == []
    logs = [path.read_text() for path in sorted(many.folder.glob("run/celery?.log"))]
    assert [log.count("is gone.") for log in logs] == [2, 2, 2]
    assert all("Traceback" not in log for log in logs)


def test_a_stop_of_what_is_down_is_no_error_and_a_start_of_what_is_up_is_one(many):
    assert many("start", "1", "-A", "proj", "-c", "1", *FILES).returncode == 0
    done = many("start", "1", "-A", "proj", "-c", "1", *FILES)
    assert (done.returncode, "FAILED (status 2)" in done.stdout) == (1, True), done.stdout
    assert "which is running" in done.stderr
    done = many("stop_verify", "1", "--nosplash", *FILES)
    assert (done.returncode, "OK" in done.stdout, "kernel multi v" in done.stdout) == (0, True, False)
    done = many("stop", "1", "--quiet", *FILES)
    assert (done.returncode, done.stdout) == (0, "")
    assert "DOWN" in many("stop", "1", *FILES).stdout


def test_a_worker_that_was_killed_leaves_no_file_and_can_be_started_again(many):
    words = ("1", "-A", "proj", "-c", "1", *FILES)
    assert many("start", *words).returncode == 0
    assert many("kill", "1", *FILES).returncode == 0
    assert many.pids() == []
    assert many("restart", *words).returncode == 0
    assert len(many.pids()) == 1
    assert many("stopwait", "1", "-QUIT", *FILES).returncode == 0


def test_a_start_that_fails_says_why(many):
    done = many("start", "1", "-A", "nowhere", "--verbose", *FILES)
    assert (done.returncode, "FAILED (status 2)" in done.stdout) == (1, True)
    assert "-m bootsteps worker --detach -A nowhere" in done.stdout
    assert "there is no module 'nowhere'" in done.stderr


def test_the_help_teaches(many):
    for words in (("help",), ("--help",), ("-h",)):
        done = many(*words)
        assert done.returncode == 0
        for word in ("start", "stopwait", "expand", "-Q:1-3", "--pidfile", "Exit status"):
            assert word in done.stdout
    done = many("strat", "3")
    assert (done.returncode, "did you mean 'start'?" in done.stderr) == (2, True)
    assert many().returncode == 2


def test_what_would_be_done_can_be_shown(many):
    done = many("show", "3", "-c", "3", "-c:1", "10", "--hostname=h")
    lines = done.stdout.splitlines()
    assert [line.partition("--pidfile")[0].partition("--detach ")[2] for line in lines] == [
        "-c 10 -n celery1@h ", "-c 3 -n celery2@h ", "-c 3 -n celery3@h ",
    ]  # fmt: skip
    assert many("names", "2", "--hostname=h").stdout == "celery1@h\ncelery2@h\n"
    assert many("expand", "/run/%n.pid", "a@h", "b@h").stdout == "/run/a.pid\n/run/b.pid\n"
    assert "-c 3" in many("get", "celery2", "2", "-c", "3", "-c:1", "4").stdout
    assert many("get", "celery5", "2").returncode == 2
