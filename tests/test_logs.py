"""Where a worker's log goes: a file, a file for each child, files that are moved away."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from contextlib import suppress

import pytest

from bootsteps_tasks import App
from workers import WorkerProcess, running_worker, until

PROJ = """
    import logging, os
    from bootsteps_tasks import App
    app = App("proj")
    log = logging.getLogger("bootsteps.task.proj")

    @app.task
    def say(word):
        log.warning("a task says %s", word)
        return os.getpid()

    @app.task
    def die():
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = App("proj")
    yield app
    app.close()


def say(client, word) -> int:
    return int(client.send_task("proj.say", [word]).get(timeout=30))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_child_has_a_log_file_that_its_replacement_goes_on_with(tmp_path, client, method):
    words = ["-c", "2", "-l", "INFO", "-n", "mail@%h", "--logfile", "%n-%i%I.log", "--pool-start-method", method]
    with running_worker(tmp_path, *words, app=PROJ, ready=False) as worker:
        main = tmp_path / "mail-0.log"
        until(lambda: main.exists() and " ready." in main.read_text(), "ready")
        files = [tmp_path / "mail-1-1.log", tmp_path / "mail-2-2.log"]
        until(lambda: all(map(os.path.exists, files)), "a file for each child")
        pid = say(client, "once")
        file = next(file for file in files if "a task says once" in file.read_text())
        assert f"WARNING/{'ForkServer' if method == 'forkserver' else method.title()}PoolWorker-" in file.read_text()
        os.kill(pid, signal.SIGKILL)
        until(lambda: main.read_text().count("was killed by signal 9"), "the loss of the child")
        until(lambda: say(client, "again") and "a task says again" in file.read_text(), "the new child's word")
        assert sorted(each.name for each in tmp_path.glob("*.log") if each != worker.path) == [
            "mail-0.log", "mail-1-1.log", "mail-2-2.log",
        ]  # fmt: skip
        assert stat.S_IMODE(main.stat().st_mode) == 0o600
        assert "a task says" not in main.read_text()
        assert worker.stop() == 0
    assert "mail@" in main.read_text()
    assert worker.log == ""


def test_one_file_holds_all_and_is_made_anew_when_it_was_moved_away(tmp_path, client):
    file = tmp_path / "all.log"
    words = ["-c", "1", "-l", "INFO", "-f", "all.log"]
    with running_worker(tmp_path, *words, app=PROJ, ready=False) as worker:
        until(lambda: file.exists() and " ready." in file.read_text(), "ready")
        say(client, "before")
        assert "a task says before" in file.read_text()
        file.rename(tmp_path / "all.log.1")
        say(client, "after")
        until(lambda: file.exists() and "a task says after" in file.read_text(), "the new file")
        assert worker.stop() == 0
    assert " is gone." in file.read_text()


def test_children_that_are_not_forked_log_like_the_others(tmp_path, client):
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", "--pool-start-method", "spawn", app=PROJ) as worker:
        say(client, "hello")
        worker.until_logged("]: a task says hello")
        assert worker.stop() == 0


def test_formats_are_settings(tmp_path, client):
    text = PROJ.replace('App("proj")', 'App("proj", worker_log_format="<%(message)s>", worker_log_color=True)')
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", app=text) as worker:
        say(client, "hello")
        worker.until_logged("<celery@")
        worker.until_logged("]: a task says hello\033[0m")
        assert worker.stop() == 0


def test_a_file_that_cannot_be_opened_is_said_and_nothing_starts(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    worker = WorkerProcess(tmp_path, "-f", "no/such/place.log")
    assert worker.wait() == 2
    assert "the log file 'no/such/place.log' cannot be opened: No such file or directory" in worker.log
    assert "Traceback" not in worker.log
    worker = WorkerProcess(tmp_path, "--loglevel", "LOUD")
    assert worker.wait() == 2
    assert "DEBUG, INFO, WARNING" in worker.log


TALK = """
    import logging, os, sys
    from bootsteps_tasks import App, get_task_logger
    app = App("proj")
    log = get_task_logger(__name__)

    @app.task
    def talk(word):
        log.warning("logged %s", word)
        print("printed", word)
        print("to the error", word, file=sys.stderr)
        logging.getLogger("other").error("by another %s", word)
        raise SystemError(word) if word == "fail" else None if word == "" else LookupError(word)

    @app.task
    def prints(word):
        print("half a", end=" ")
        print("line", word)
        sys.stdout.write(word)
        sys.stdout.flush()
        return sys.stdout.isatty()
"""


@pytest.mark.parametrize(
    "words", [("-c", "1"), ("-c", "1", "--pool-start-method", "spawn"), ("-P", "threads", "-c", "1")]
)
def test_lines_of_a_task_say_its_name_and_id_also_what_it_prints(tmp_path, client, words):
    with running_worker(tmp_path, *words, "-l", "INFO", app=TALK) as worker:
        sent = client.send_task("proj.prints", ["end"])
        assert sent.get(timeout=30) is False
        told = client.send_task("proj.talk", ["x"])
        with pytest.raises(LookupError):
            told.get(timeout=30)
        worker.until_logged("by another x")
        for line in ("half a line end", "end"):
            assert f"] proj.prints[{sent.id}]: {line}\n" in worker.log
        for line in ("logged x", "printed x", "to the error x"):
            assert f"] proj.talk[{told.id}]: {line}\n" in worker.log
        assert "] by another x\n" in worker.log, "no task's logger"
        assert worker.stop() == 0


def test_formats_and_levels_of_tasks_lines_are_settings(tmp_path, client):
    settings = (
        'App("proj", worker_task_log_format="<%(task_name)s %(levelname)s %(asctime)s %(message)s>",'
        ' worker_task_log_datefmt="day", worker_redirect_stdouts_level="ERROR")'
    )
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", app=TALK.replace('App("proj")', settings)) as worker:
        client.send_task("proj.talk", ["x"])
        worker.until_logged("<proj.talk WARNING day logged x>")
        worker.until_logged("<proj.talk ERROR day printed x>")
        assert worker.stop() == 0


def test_what_is_printed_can_be_left_alone(tmp_path, client):
    app = TALK.replace('App("proj")', 'App("proj", worker_redirect_stdouts=False)')
    with running_worker(tmp_path, "-c", "1", "-l", "INFO", app=app) as worker:
        client.send_task("proj.prints", ["x"]).get(timeout=30)
        worker.until_logged("half a line x\nx")
        assert worker.stop() == 0


def test_each_line_may_be_json(tmp_path, client):
    with running_worker(tmp_path, "-q", "-c", "1", "-l", "INFO", "--log-json", app=TALK, ready=False) as worker:
        worker.until_logged(" ready.")
        told = client.send_task("proj.talk", ["fail"])
        with pytest.raises(SystemError):
            told.get(timeout=30)
        worker.until_logged("by another fail")
        assert worker.stop() == 0
    found = [json.loads(line) for line in worker.log.splitlines()]
    assert {"time", "level", "logger", "process", "pid", "message"} <= set.intersection(*map(set, found))
    mine = [line for line in found if line.get("task_id") == told.id]
    assert {line["message"] for line in mine} >= {"logged fail", "printed fail"}
    assert {line["task_name"] for line in mine} == {"proj.talk"}
    failed = next(line for line in found if told.id in line["message"] and "traceback" in str(line).lower())
    assert "SystemError" in str(failed)


def test_handlers_of_the_application_are_kept_unless_they_are_to_be_taken_away(tmp_path, client):
    own = TALK.replace(
        '    app = App("proj")', '    logging.basicConfig(format="OWN %(message)s", level="INFO")\n    app = A'
    )
    for settings, mark in (("", "OWN celery@"), (", worker_hijack_root_logger=True", "/MainProcess] celery@")):
        app = own.replace("app = A\n", f'app = App("proj"{settings})\n')
        with running_worker(tmp_path, "-P", "solo", app=app) as worker:
            worker.until_logged(mark)
            assert ("OWN" in worker.log) is ("OWN" in mark)
            assert worker.stop() == 0


def test_the_banner_tells_what_will_happen_and_no_password(tmp_path, redis_url, client):
    address = redis_url.replace("redis://", "redis://:@")
    words = ("-l", "INFO", "-c", "3", "-P", "threads", "-n", "w1@here", "-Q", f"mail-{tmp_path.name}")
    with running_worker(tmp_path, *words, app=TALK, broker=address, backend=address) as worker:
        worker.until_logged("ready.")
        said = worker.log.split("[20")[0]
        assert worker.stop() == 0
    lines = {" ".join(line.split()) for line in said.splitlines()}
    masked = redis_url.replace("redis://", "redis://:**@")
    assert {
        "app: proj",
        f"transport: {masked}",
        f"results: {masked}",
        "concurrency: 3 (threads)",
        "events: off",
    } <= lines
    assert {"[queues]", "[tasks]", "proj.prints", "proj.talk"} <= lines
    assert any(line.startswith("w1@here bootsteps ") for line in lines)
    queue = f"mail-{tmp_path.name}"
    assert f"{queue} exchange={queue}(direct) key={queue}" in lines


@pytest.mark.parametrize("quiet", [{"words": ("-q",)}, {"env": "KERNEL_WORKER_QUIET"}])
def test_the_banner_can_be_left_out(tmp_path, client, monkeypatch, quiet):
    if "env" in quiet:
        monkeypatch.setenv(quiet["env"], "1")
    with running_worker(tmp_path, "-P", "solo", *quiet.get("words", ()), app=TALK) as worker:
        assert "[config]" not in worker.log
        assert worker.stop() == 0


def test_colours_are_for_terminals_and_can_be_switched_off(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    seen = {}
    for flag in ("--color", "--no-color", ""):
        worker = WorkerProcess(
            tmp_path, command=("-A", "proj", "worker", "-P", "solo", "-l", "DEBUG", *([flag] if flag else []))
        )
        worker.until_logged(" ready.")
        assert worker.stop() == 0
        seen[flag] = "\033[" in worker.log
    assert seen == {"--color": True, "--no-color": False, "": False}
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "linux"}
    words = [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", "-P", "solo", "-l", "DEBUG"]
    assert "\033[" in on_a_terminal([*words, "-q"], tmp_path, env)
    assert "\033[" not in on_a_terminal([*words, "-q", "--no-color"], tmp_path, env)


def on_a_terminal(words, folder, env) -> str:
    """Run a worker on a terminal until it is ready; return all that it wrote there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(words, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    try:
        while b" ready." not in said:
            said += os.read(master, 65536)  # OSError when it ends before
    finally:
        process.terminate()
        with suppress(OSError):
            while os.read(master, 65536):
                pass
        process.wait(30)
        os.close(master)
    return said.decode()
