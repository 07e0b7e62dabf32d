"""The worker's parent does not grow with the number of tasks. TEST_MEMORY_TASKS=1000000 runs the long version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootsteps_tasks import App
from workers import WorkerProcess, running_worker, until

TASKS = int(os.environ.get("TEST_MEMORY_TASKS", "60000"))
#: Buffers, remembered ids and the cache of SQLite (2 MB) fill up first.
WARM_UP = 120_000
FAILURES = TASKS // 100
LIMIT_S = 60 + (WARM_UP + TASKS) / 1000

APP = """
    from bootsteps_tasks import App
    app = App("proj")

    @app.task(ignore_result=True)
    def noop():
        pass

    @app.task
    def fail():
        raise ValueError("x" * 500)
"""


def resident(worker: WorkerProcess) -> int:
    """Bytes of memory that the parent uses."""
    pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(client: App, name: str, number: int) -> None:
    """Let a worker run so many, and wait until the broker has no message more."""
    options = {"ignore_result": True} if name == "proj.noop" else {}
    client.send_many((name, (), {}, options) for _ in range(number))
    with client.connection() as connection:
        channel = connection.default_channel
        until(lambda: channel.queue_declare("celery", passive=True).message_count == 0, "an empty queue", LIMIT_S)
    client.send_task("proj.noop", ignore_result=False).get(timeout=LIMIT_S)


@pytest.mark.timeout(3 * LIMIT_S)
def test_the_parent_does_not_grow(tmp_path: Path, client: App) -> None:
    """By no more than 1 MB in 100,000 tasks.

    A leak grows in each half; what is held for a moment when the machine stalls, and never given back to the system, in
    one. In a long run both together are held to it.
    """
    with running_worker(tmp_path, "-c", "2", "-l", "CRITICAL", app=APP, ready=False) as worker:
        run(client, "proj.noop", WARM_UP)
        run(client, "proj.fail", 500)
        sizes = [resident(worker)]
        for _ in range(2):
            run(client, "proj.noop", TASKS // 2)
            run(client, "proj.fail", FAILURES // 2)
            sizes.append(resident(worker))
    halves = sizes[1] - sizes[0], sizes[2] - sizes[1]
    print(f"the parent grew by {sum(halves) // 1024} KiB in {TASKS:,} tasks and {FAILURES:,} failures")
    allowed = 1_000_000 * (TASKS + FAILURES) / 100_000
    assert min(halves) <= allowed / 2
    if TASKS >= 1_000_000:
        assert sum(halves) <= allowed
