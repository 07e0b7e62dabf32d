"""What only several processes can show: forks, contention, kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable

from bootsteps_result_sqlite import SqliteBackend
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta

Open = Callable[..., SqliteBackend]


STORER = """
import sys
from bootsteps_result_sqlite import SqliteBackend
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
backend = SqliteBackend(App("proj"), sys.argv[1])
for n in range(int(sys.argv[2])):
    backend.store([meta(f"{sys.argv[3]}-{n}-{part}", "SUCCESS", n) for part in "abc"])
    print(n, flush=True)
"""


def storer(url: str, count: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STORER, url, str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_9_loses_nothing_that_store_returned_for(opened: Open, url: str) -> None:
    child = storer(url, 10**6, "k")
    assert child.stdout is not None
    stored = [int(child.stdout.readline()) for _ in range(50)]
    child.kill()
    stored += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    backend = opened()
    found = backend.get_many(f"k-{n}-{part}" for n in stored for part in "abc")
    assert len(found) == 3 * len(stored)
    half = backend.get_many(f"k-{max(stored) + 1}-{part}" for part in "abc")
    assert len(half) in (0, 3)


def test_several_processes_store_at_one_time_from_the_first_opening_on(opened: Open, url: str) -> None:
    children = [storer(url, 40, str(n)) for n in range(4)]
    outputs = [child.communicate(timeout=100)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert [output.count("\n") for output in outputs] == [40] * 4
    ids = [f"{child}-{n}-{part}" for child in range(4) for n in range(40) for part in "abc"]
    assert len(opened().get_many(ids)) == len(ids)


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(4)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_opens_the_file_anew(opened: Open) -> None:
    backend = opened()
    backend.store([meta("parent", "SUCCESS", 1)])
    mine = backend._connections.get()

    def work() -> None:
        assert backend._connections.get() is not mine
        assert backend.get("parent") is not None
        backend.store([meta("child", "SUCCESS", 2)])
        backend.close()

    assert in_child(work) == 0
    assert set(backend.wait(["child"], timeout=30)) == {"child"}
    backend.store([meta("again", "SUCCESS", 3)])
    with sqlite3.connect(backend.path) as con:
        assert con.execute("pragma integrity_check").fetchone() == ("ok",)
    con.close()


def test_an_application_makes_a_backend_per_process(url: str) -> None:
    app = App("proj", broker="memory://", backend=url)
    mine = app.backend

    def work() -> None:
        assert app.backend is not mine
        app.backend.store([meta("child", "SUCCESS", 2)])

    assert in_child(work) == 0
    assert app.backend is mine
    assert mine.get("child") is not None
    app.close()


def test_what_a_child_stores_survives_the_parents_close(opened: Open) -> None:
    """A child that inherited SQLite's idea of the parent's locks would write into a log that the parent removes."""
    backend = opened()
    backend.store([meta("parent", "SUCCESS", 1)])
    ready, go = os.pipe(), os.pipe()

    child = os.fork()
    if child == 0:
        try:
            backend.store([meta("before", "SUCCESS", 2)])
            os.write(ready[1], b"1")
            os.read(go[0], 1)
            backend.store([meta("after", "SUCCESS", 3)])
            os._exit(0)
        finally:
            os._exit(4)
    os.read(ready[0], 1)
    backend.close()
    os.write(go[1], b"1")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert set(backend.get_many(["parent", "before", "after"])) == {"parent", "before", "after"}
    for end in (*ready, *go):
        os.close(end)
