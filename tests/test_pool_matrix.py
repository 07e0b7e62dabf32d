"""What docs/pools.md declares of each pool is what is observed, in real workers."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App, errors
from workers import TASKS, WorkerProcess, running_worker, until

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "pools.md").read_text()
POOLS = ("prefork", "asyncio", "gevent", "eventlet", "threads", "solo")
#: A row's words, and the task that does it.
DEEDS = {
    "`while True: pass`": "spin",
    "`while True: pass` in a function": "spin",
    "`while True: pass` in a coroutine": "aspin",
    "a C call that holds the interpreter": "block",
    "`time.sleep()`": "doze",
    "`await asyncio.sleep()`": "anap",
}
APP = (
    TASKS
    + """
    import asyncio
    from collections import deque
    from itertools import repeat
    from bootsteps import HUB, POOL, TIMER, StartStopStep

    def begun(mark):
        Path(mark).touch()

    @app.task
    def spin(mark):
        begun(mark)
        while True:
            pass

    @app.task
    def block(mark):
        begun(mark)
        deque(repeat(None, 10**12), maxlen=0)  # looks for no signal and lets no other thread run

    @app.task
    def doze(mark):
        begun(mark)
        time.sleep(600)

    class Terminator(StartStopStep):
        requires = (POOL, TIMER)

        def start(self, worker):
            entry = worker.timer.call_repeatedly(0.05, self.look, (worker,))
            worker.on_stop(entry.cancel)

        def look(self, worker):
            if os.path.exists("terminate"):
                os.unlink("terminate")
                told = [worker.get(POOL).terminate_job(job.seq, signal.SIGTERM) for job in worker.get(POOL).running()]
                Path("terminated").write_text(str(told))

    app.steps["worker"].add(Terminator)
"""
)
COROUTINES = """
    @app.task
    async def aspin(mark):
        begun(mark)
        while True:
            pass

    @app.task
    async def anap(mark):
        begun(mark)
        await asyncio.sleep(600)
"""


def rows(pool: str) -> dict[str, list[str]]:
    """Return the declared cells of a pool, by the task's name."""
    found = re.findall(rf"^\| {pool} \| (.+?) \| (.+) \|$", PAGE, re.M)
    return {DEEDS[words]: cells.split(" | ") for words, cells in found if words in DEEDS}


def runnable(pool: str) -> list[str]:
    return [deed for deed, cells in rows(pool).items() if set(cells) != {"refused"}]


def step(pool: str) -> Any:
    for entry in entry_points(group="worker.steps"):
        if f"worker_pool_{pool}." in entry.value:
            return entry.load()
    raise AssertionError(f"the pool {pool} is not installed")


def app_for(pool: str) -> str:
    return APP + (COROUTINES if "coroutines" in step(pool).capabilities else "")


@pytest.mark.parametrize("pool", POOLS)
def test_the_page_tells_the_capabilities(pool: str) -> None:
    section = PAGE.partition("## Capabilities")[2].partition("##")[0]
    [header, *lines] = re.findall(r"^\| (Capability|`.+?`) \| (.+) \|$", section, re.M)
    column = header[1].split(" | ").index(pool)
    told = {
        word for words, cells in lines if cells.split(" | ")[column] == "yes" for word in re.findall(r"`(\w+)`", words)
    }
    assert told == getattr(step(pool), "capabilities", frozenset())


def begin(client: App, deed: str, folder: Path, **options: Any) -> Any:
    mark = folder / f"mark-{deed}"
    mark.unlink(missing_ok=True)
    result = client.send_task(f"proj.{deed}", (str(mark),), **options)
    until(mark.exists, f"the start of {deed}")
    return result


def child(worker: WorkerProcess) -> int:
    """Return the pid of the only child, when it is there: a result can be known before its child is replaced."""
    until(lambda: len(worker.children()) == 1, "a child")
    return worker.children()[0]


def soft(worker: WorkerProcess, client: App, deed: str, folder: Path) -> str:
    try:
        begin(client, deed, folder, soft_time_limit=0.3, time_limit=1.5).get(timeout=20)
    except errors.SoftTimeLimitExceeded:
        return "ends"
    except errors.TimeLimitExceeded:
        return "late"
    return "nothing"


def hard(worker: WorkerProcess, client: App, deed: str, folder: Path) -> str:
    before = child(worker)
    with pytest.raises(errors.TimeLimitExceeded):
        begin(client, deed, folder, time_limit=0.3).get(timeout=20)
    return "ends" if child(worker) == before else "kills"


def terminate(worker: WorkerProcess, client: App, deed: str, folder: Path) -> str:
    before = child(worker)
    result = begin(client, deed, folder)
    (folder / "terminate").touch()
    with pytest.raises(errors.WorkerLostError):
        result.get(timeout=20)
    assert (folder / "terminated").read_text() == "[True]"
    return "ends" if child(worker) == before else "kills"


@pytest.mark.parametrize("pool", ["prefork", "asyncio", "gevent", "eventlet"])
def test_limits_and_termination_do_what_the_page_says(tmp_path: Path, client: App, pool: str) -> None:
    observed: dict[str, list[str]] = {}
    source = app_for(pool).replace("@app.task\n", "@app.task(acks_late=False)\n")  # what is lost is not tried again
    with running_worker(tmp_path, "-P", pool, "-c", "1", app=source) as worker:
        for deed in runnable(pool):
            observed[deed] = [trial(worker, client, deed, tmp_path) for trial in (soft, hard, terminate)]
        assert worker.stop() == 0
    assert observed == {deed: rows(pool)[deed][:3] for deed in runnable(pool)}


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_pools_that_cannot_end_a_task_say_so(tmp_path: Path, client: App, pool: str) -> None:
    for deed in runnable(pool):
        assert rows(pool)[deed][:3] == ["refused", "refused", "no"]
    with running_worker(tmp_path, "-P", pool, "--time-limit", "5", app=APP, ready=False) as worker:
        assert worker.wait() != 0
        assert f"needs 'hard_limit', which pool '{pool}' cannot do" in worker.log
    with running_worker(tmp_path, "-P", pool, "--soft-time-limit", "5", app=APP, ready=False) as worker:
        assert worker.wait() != 0
        assert f"needs 'soft_limit', which pool '{pool}' cannot do" in worker.log
    if pool == "threads":
        with running_worker(tmp_path, "-P", pool, app=APP):
            begin(client, "doze", tmp_path)
            (tmp_path / "terminate").touch()
            until((tmp_path / "terminated").exists, "the answer of terminate_job")
            until(lambda: (tmp_path / "terminated").read_text() == "[False]", "the answer")


@pytest.mark.parametrize("pool", [pool for pool in POOLS if pool != "asyncio"])
def test_coroutines_are_refused_as_the_page_says(tmp_path: Path, pool: str) -> None:
    assert set(rows(pool)["anap"]) == {"refused"}
    with running_worker(tmp_path, "-P", pool, app=APP + COROUTINES, ready=False) as worker:
        assert worker.wait() != 0
        assert "is a coroutine, which needs 'coroutines', and the pool cannot do that" in worker.log


@pytest.mark.parametrize("how", ["warm", "cold"])
@pytest.mark.parametrize("pool", POOLS)
def test_shutdown_does_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str, how: str) -> None:
    """One worker for each task, all at one time."""
    column = {"warm": 3, "cold": 4}[how]
    observed = {}
    with ExitStack() as stack:
        workers = {}
        for deed in runnable(pool):
            folder = tmp_path / deed
            folder.mkdir()
            alone = running_worker(folder, "-P", pool, "-c", "1", "--grace", "0.5", app=app_for(pool))
            workers[deed] = stack.enter_context(alone)
            begin(client_of(folder, monkeypatch), deed, folder)
        for worker in workers.values():
            worker.signal(signal.SIGTERM if how == "warm" else signal.SIGQUIT)
        for deed, worker in workers.items():
            try:
                worker.process.wait(8)
            except subprocess.TimeoutExpired:
                observed[deed] = "late"
            else:
                back = waiting(client_of(tmp_path / deed, monkeypatch)) == 1
                observed[deed] = "ends" if back else f"lost:\n{worker.log}"
    assert observed == {deed: rows(pool)[deed][column] for deed in runnable(pool)}


def client_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    return App("proj")


def waiting(client: App) -> int:
    with client.connection() as connection:
        count: int = client.queues()[0](connection.channel()).queue_declare().message_count
        return count
