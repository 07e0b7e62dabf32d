"""`kernel events` in a terminal: tasks and workers live, and keys that act on a real worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bootsteps_tasks import App
from cable import Cable
from workers import TASKS, running_worker

pytest.importorskip("pyte", reason="pip install pyte")
pytest.importorskip("bootsteps_events_monitor")

from terminals import running_terminal

DOWN = "\x1b[B"


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def name() -> str:
    """Of the queue, of the exchanges and of the node: one server serves all tests."""
    return f"m{os.getpid()}-{time.monotonic_ns() % 10**9}"  # short: answers are shown in a narrow box


@pytest.fixture
def client(url: str, name: str) -> Iterator[App]:
    app = App("client", broker=url, task_default_queue=name, control_exchange=name, task_ignore_result=True)
    yield app
    app.close()


def proj(name: str) -> str:
    exchanges = f"task_default_queue={name!r}, control_exchange={name!r}, event_exchange='{name}.ev'"
    return TASKS.replace('App("proj")', f'App("proj", {exchanges})')


def test_tasks_are_seen_selected_and_ended(tmp_path, url, name, client):
    node = ("-n", f"{name}@h")
    with running_worker(tmp_path, "-c", "2", "-E", *node, app=proj(name), broker=url) as worker:
        with running_terminal(tmp_path, "-A", "proj", "events", broker=url) as terminal:
            terminal.until_shown("1 of 1 workers online", "q Quit", url.partition("://")[0])
            done = client.send_task("proj.add", (40, 2)).id
            terminal.until_shown(done, "proj.add", f"{name}@h", "SUCCESS")
            failed = client.send_task("proj.fail", ("oh",)).id
            terminal.until_shown(failed, "FAILURE")
            busy = client.send_task("proj.nap", (60,)).id
            terminal.until_shown(busy, "STARTED")

            terminal.press(DOWN, "j", "r")
            terminal.until_shown("result of proj.add", "│ 42 ")
            terminal.press("q", "k", "t")
            terminal.until_shown("traceback of proj.fail", "raise ValueError(*args)", gone="result of")
            terminal.press("q", "\r")
            terminal.until_shown(f"task {failed}", "args  ('oh',)", "exception  ValueError('oh')", "started  ")
            terminal.press("q")
            terminal.until_shown(done, gone="escape: back")

            terminal.press("k", "T")
            terminal.until_shown(f"Terminate proj.nap {busy}?")
            terminal.press("y")
            terminal.until_shown("terminate:")
            terminal.until_shown("REVOKED")
            worker.until_logged("revoked")

            later = client.send_task("proj.nap", (60,), countdown=50).id
            terminal.until_shown(later, "RECEIVED")
            terminal.press("c")
            terminal.until_shown(f"Revoke proj.nap {later}?")
            terminal.press("y")
            terminal.until_shown("flagged")
            asked = client.control.inspect(timeout=10, limit=1).revoked()
            assert later in asked[f"{name}@h"]
            terminal.press("q")
            assert terminal.process.wait(20) == 0
        assert worker.stop() == 0


def test_rates_are_limited_and_events_turned_on(tmp_path, url, name, client):
    with running_worker(tmp_path, "-c", "1", "-n", f"{name}@h", app=proj(name), broker=url) as worker:
        with running_terminal(tmp_path, "-A", "proj", "monitor", broker=url) as terminal:
            terminal.until_shown("1 of 1 workers online", "0 tasks")
            terminal.press("e")
            terminal.until_shown("task events enabled")
            first = client.send_task("proj.add", (1, 1)).id
            terminal.until_shown(first, "SUCCESS")
            terminal.press("l")
            terminal.until_shown("How often may proj.add start in each worker?")
            terminal.press("1/h\r")
            terminal.until_shown("new rate limit set successfully")
            limited = [client.send_task("proj.add", (n, n)).id for n in range(2)]
            terminal.until_shown(*limited, "RECEIVED")
            terminal.press("w")
            terminal.until_shown("py-bootsteps", str(worker.process.pid), "ONLINE")
            terminal.press("\x03")
            assert terminal.process.wait(20) == 0
        assert worker.stop() == 0


def test_a_broker_that_goes_and_comes_is_told_and_listened_to_again(tmp_path, redis_url, name):
    cable = Cable(redis_url)
    app = App("client", broker=redis_url, task_default_queue=name, control_exchange=name, task_ignore_result=True)
    words = ("-c", "1", "-E", "-n", f"{name}@h")
    with (
        running_worker(tmp_path, *words, app=proj(name), broker=redis_url) as worker,
        running_terminal(tmp_path, "-A", "proj", "monitor", broker=cable.url) as terminal,
    ):
        terminal.until_shown("1 of 1 workers online")
        cable.cut()
        terminal.until_shown("no connection to the broker")
        cable.mend()
        terminal.until_shown("1 of 1 workers online", gone="no connection")
        uuid = app.send_task("proj.add", (1, 1)).id
        terminal.until_shown(uuid, "SUCCESS")
        worker.kill()
        terminal.until_shown("0 of 1 workers online")
        terminal.press("q")
        assert terminal.process.wait(20) == 0
    cable.cut()
    app.close()


def kernel(folder, *args):
    env = dict(os.environ, XDG_STATE_HOME=str(folder), COLUMNS="120")
    words = [sys.executable, "-m", "bootsteps", *args]
    return subprocess.run(
        words, cwd=folder, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def test_without_a_terminal_it_says_what_else_there_is(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    found = kernel(tmp_path, "-A", "proj", "monitor")
    assert found.returncode == 2
    assert "the monitor needs a terminal" in found.stderr
    assert "--dump" in found.stderr
    assert "--json" in found.stderr
    assert "Traceback" not in found.stderr


def test_help_teaches_the_keys(tmp_path):
    text = kernel(tmp_path, "monitor", "--help").stdout
    for words in ("up, down, j, k", "i, enter", "revoke it", "terminate it", "its result", "limit the rate", "quit"):
        assert words in text
    assert "kernel -A proj events\n" in kernel(tmp_path, "events", "--help").stdout


def test_events_is_the_dump_where_there_is_no_monitor(tmp_path, name, redis_url):
    (tmp_path / "proj.py").write_text(
        f"from bootsteps_tasks import App\napp = App('proj', control_exchange={name!r}, event_exchange='{name}.ev')\n"
    )
    words = ("-A", "proj", "events", "--without", "monitor")
    with running_terminal(tmp_path, *words, broker=redis_url) as terminal:
        terminal.until_shown("-> capturing events ...")
        terminal.press("\x03")
        assert terminal.process.wait(30) == 0
