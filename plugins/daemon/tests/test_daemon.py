"""Real workers of one made-up step: in the background, with pid files, restarted, at a terminal."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bootsteps import KernelError
from bootsteps_daemon.pidfile import Pidfile, owner, wait_for_end

APP = """
    import os, time
    import bootsteps
    OURS = ("bootsteps-daemon", "bootsteps-worker")
    others = {plugin.dist for plugin in bootsteps.scan()} - set(OURS)
    app = bootsteps.App("proj", without=tuple(sorted(others)))

    class Loop(bootsteps.Step):
        def start(self, worker):
            if os.environ.get("BROKEN"):
                raise bootsteps.KernelError("there is no disk", (), "buy one")
            print("printed by the loop", flush=True)
            with open("starts", "a") as file:
                file.write(f"{os.getpid()} {os.getppid()} {os.environ.get('BOOTSTEPS_LAUNCHED')}\\n")

        def run(self, worker, until):
            while not until():
                time.sleep(0.01)

    app.steps["worker"].add(Loop)
"""


def until(true, what="it"):
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends, f"{what} did not happen within 30 s"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "proj.py").write_text(textwrap.dedent(APP))
    yield tmp_path
    for path in tmp_path.glob("*.pid"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def kernel(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", "-l", "INFO", *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, text=True, capture_output=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def starts(folder: Path) -> list[list[str]]:
    file = folder / "starts"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


DETACH = ("-D", "-n", "w@%h", "--pidfile", "%n.pid", "-f", "%n%I.log")


def end(folder: Path, pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    until(lambda: gone(pid), "the end")
    assert not (folder / "w.pid").exists()


def gone(pid: int) -> bool:
    """Tell whether it has ended; whoever it was left to may not have reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_detached_worker_is_ready_when_the_command_returns(folder):
    done = kernel(folder, *DETACH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ready." in (folder / "w.log").read_text()
    pid = int((folder / "w.pid").read_text())
    assert stat.S_IMODE((folder / "w.pid").stat().st_mode) == 0o600
    assert owner(folder / "w.pid") == pid
    assert os.getsid(pid) == pid
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null", *[str(folder / "w.log")] * 2]
    assert "printed by the loop" in (folder / "w.log").read_text()
    until(lambda: starts(folder), "the loop")
    assert starts(folder)[0][2] == "None"  # what it starts itself does not believe to be it
    end(folder, pid)
    assert "is gone" in (folder / "w.log").read_text()


def test_a_start_that_fails_is_told_where_it_was_asked_for(folder):
    done = kernel(folder, *DETACH, BROKEN="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: there is no disk\n")
    assert "try: buy one" in done.stderr
    assert not (folder / "w.pid").exists()


def test_wrong_options_are_refused_before_anything_is_detached(folder):
    for words, what in (
        (("--uid", "nobody-of-that-name"), "there is no such user"),
        (("--gid", "4294967000"), "there is no such group"),
        (("--umask", "9"), "an octal number is wanted"),
        (("--executable", "no/python"), "there is no such program"),
        (("--workdir", "no/folder"), "cannot go to the folder 'no/folder'"),
    ):
        done = kernel(folder, *DETACH, *words)
        assert (done.returncode, what in done.stderr, "try:" in done.stderr) == (2, True, True), done.stderr
    assert not (folder / "w.log").exists()


def test_a_second_worker_is_refused_and_told_what_to_do(folder):
    assert kernel(folder, *DETACH).returncode == 0
    pid = int((folder / "w.pid").read_text())
    done = kernel(folder, "--pidfile", "w.pid")
    assert done.returncode == 2
    assert f"belongs to process {pid}, which is running" in done.stderr
    assert f"try: kill -TERM {pid}" in done.stderr
    end(folder, pid)


def test_hup_starts_a_detached_worker_anew_in_the_same_process(folder):
    assert kernel(folder, *DETACH).returncode == 0
    pid = int((folder / "w.pid").read_text())
    until(lambda: len(starts(folder)) == 1, "the first start")
    os.kill(pid, signal.SIGHUP)
    until(lambda: len(starts(folder)) == 2, "the second start")
    assert {line[0] for line in starts(folder)} == {str(pid)}
    assert owner(folder / "w.pid") == pid
    until(lambda: owner(folder / "w.pid") == pid, "the pid file")
    until(lambda: (folder / "w.log").read_text().count("ready.") == 2, "ready")
    end(folder, pid)
    assert len(starts(folder)) == 2
    assert (folder / "w.log").read_text().count("is gone") == 2


def test_term_after_hup_ends_it(folder):
    assert kernel(folder, *DETACH).returncode == 0
    pid = int((folder / "w.pid").read_text())
    until(lambda: len(starts(folder)) == 1, "the start")
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    until(lambda: owner(folder / "w.pid") is None, "the end")
    until(lambda: gone(pid), "its end")
    assert len(starts(folder)) == 1


def test_at_a_terminal_hup_is_logged_and_nothing_else(folder):
    words = [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", "-l", "INFO", "-f", "tty.log"]
    code = f"import pty; pty.spawn({words!r})"
    terminal = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        log = folder / "tty.log"
        until(lambda: log.exists() and "ready." in log.read_text(), "the start")
        pid = int(starts(folder)[0][0])
        os.kill(pid, signal.SIGHUP)
        until(lambda: "SIGHUP is ignored" in (folder / "tty.log").read_text(), "the word in the log")
        os.kill(pid, signal.SIGTERM)
        until(lambda: wait_for_end([pid], 0.1), "the end")
        assert len(starts(folder)) == 1
    finally:
        terminal.kill()
        terminal.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_group_and_umask(folder):
    done = kernel(folder, *DETACH, "--gid", "65534", "--umask", "027")
    assert done.returncode == 0, done.stderr
    pid = int((folder / "w.pid").read_text())
    status = Path(f"/proc/{pid}/status").read_text()
    assert "\nGid:\t65534\t65534\t65534\t65534\n" in status
    assert "\nUmask:\t0027\n" in status
    end(folder, pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user(folder):
    nobody = pwd.getpwnam("nobody")
    python, path = _python_for(nobody.pw_uid)
    place = Path(tempfile.mkdtemp(prefix="bootsteps-", dir="/tmp"))  # pytest's own folders are root's alone
    try:
        place.chmod(0o777)
        (place / "proj.py").write_text(textwrap.dedent(APP))
        done = kernel(place, *DETACH, "--uid", "nobody", "--executable", python, PYTHONPATH=path)
        assert done.returncode == 0, done.stderr
        pid = int((place / "w.pid").read_text())
        assert {(place / name).stat().st_uid for name in ("w.pid", "w.log")} == {nobody.pw_uid}
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"\nUid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t" in status
        assert f"\nGid:\t{nobody.pw_gid}\t{nobody.pw_gid}\t" in status
        assert "\nGroups:\t0" not in status
        assert "HOME=/root\0" not in Path(f"/proc/{pid}/environ").read_text()
        end(place, pid)
    finally:
        for left in place.glob("*.pid"):
            os.kill(int(left.read_text()), signal.SIGKILL)
        shutil.rmtree(place)


def _python_for(uid: int) -> tuple[str, str]:
    """Return an interpreter that this user may run, and an import path; skips where there is none."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", "import sys, bootsteps_daemon, click; assert sys.version_info >= (3, 11)"],
                user=uid, group=uid, extra_groups=[], env={"PYTHONPATH": path}, cwd="/", capture_output=True,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return python, path
    pytest.skip("there is no Python here that another user could run")


def test_the_folder_is_gone_to_first_also_after_a_restart(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    words = ["--workdir", os.path.relpath(folder, elsewhere), *DETACH]
    done = kernel(elsewhere, *words)
    assert done.returncode == 0, done.stderr
    pid = int((folder / "w.pid").read_text())
    until(lambda: len(starts(folder)) == 1, "the start")
    os.kill(pid, signal.SIGHUP)
    until(lambda: len(starts(folder)) == 2, "the second start")
    until(lambda: (folder / "w.log").read_text().count("ready.") == 2, "ready")
    end(folder, pid)


# The file alone.


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1)


def test_a_file_of_a_dead_process_is_replaced_and_removed_at_the_end(tmp_path):
    process = sleeper()
    process.kill()
    process.communicate()
    path = tmp_path / "x.pid"
    path.write_text(f"{process.pid}\n")
    assert owner(path) is None
    pidfile = Pidfile(path)
    pidfile.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.release()
    assert not path.exists()


def test_a_living_process_that_took_no_lock_is_refused_and_one_that_is_younger_than_the_file_is_not(tmp_path):
    path, process = tmp_path / "x.pid", sleeper()
    assert process.stdout is not None
    process.stdout.readline()
    try:
        path.write_text(f"{process.pid}\n")
        assert owner(path) == process.pid
        with pytest.raises(KernelError, match="which is running"):
            Pidfile(path).acquire()
        os.utime(path, (1, 1))  # so the file is another's, who had this number before
        assert owner(path) is None
        pidfile = Pidfile(path)
        pidfile.acquire()
        pidfile.release()
    finally:
        process.kill()
        process.communicate()


def test_what_is_no_pid_file_is_told(tmp_path):
    path = tmp_path / "x.pid"
    path.write_text("hello")
    with pytest.raises(KernelError, match="is no pid file"):
        owner(path)
    with pytest.raises(KernelError, match="cannot be written"):
        Pidfile(tmp_path / "no" / "x.pid").acquire()
