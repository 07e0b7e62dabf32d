"""How many messages a worker holds when nobody says it: none that another could run waits for a long task."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from workers import running_worker, until

LONG_S = 6.0


@pytest.fixture
def app(tmp_path: Path, redis_url: str) -> Any:
    from bootsteps_tasks import App

    app = App("proj", broker=redis_url, backend=redis_url)
    yield app
    app.close()


def send(app: Any, seconds: float, mark: Path | None = None) -> Any:
    return app.send_task("proj.nap", (seconds, None if mark is None else str(mark)))


@pytest.fixture
def on_rabbitmq(amqp_url: str, redis_url: str) -> Any:
    from bootsteps_tasks import App

    app = App("proj", broker=amqp_url, backend=redis_url)
    yield app
    app.close()


def ended(worker: Any, results: list[Any]) -> int:
    """How many of these the worker says that it ended."""
    return sum(f"[{result.id}] succeeded" in worker.log for result in results)


def worker(folder: Path, url: str, name: str, *words: str) -> Any:
    return running_worker(folder, "-c", "2", "-n", f"{name}@h", *words, broker=url, backend=url)


def test_no_short_task_waits_behind_a_long_one_that_another_worker_could_run(
    app: Any, tmp_path: Path, redis_url: str
) -> None:
    running = tmp_path / "running"
    with worker(tmp_path, redis_url, "first") as first:
        began = time.monotonic()
        long = [send(app, LONG_S, running) for _ in range(2)]
        until(lambda: running.exists() and len(running.read_text().split()) == 2, "the long tasks")
        short = [send(app, 0.01) for _ in range(6)]  # as many as the usual window has places for
        first.until_logged(f"Task proj.nap[{short[-1].id}] received")
        with worker(tmp_path, redis_url, "second"):
            for result in short:
                assert result.get(timeout=LONG_S) == 0.01
            assert time.monotonic() - began < LONG_S
            assert [result.get(timeout=2 * LONG_S) for result in long] == [LONG_S] * 2


def test_who_names_a_multiplier_gets_that_window(app: Any, tmp_path: Path, redis_url: str) -> None:
    running = tmp_path / "running"
    with worker(tmp_path, redis_url, "first", "--prefetch-multiplier", "4") as first:
        long = [send(app, 2.0, running) for _ in range(2)]
        until(lambda: running.exists() and len(running.read_text().split()) == 2, "the long tasks")
        short = [send(app, 0.01) for _ in range(6)]
        first.until_logged(f"Task proj.nap[{short[-1].id}] received")
        with worker(tmp_path, redis_url, "second"):
            assert [result.get(timeout=20) for result in long + short] == [2.0] * 2 + [0.01] * 6
            first.until_logged(f"proj.nap[{short[-1].id}] succeeded")  # and not the other worker


def test_tasks_that_turn_out_long_are_shared_all_the_same(app: Any, tmp_path: Path, redis_url: str) -> None:
    """The window has grown by tiny tasks, and so many of the same kind are taken at once that take long now."""
    with worker(tmp_path, redis_url, "first") as first:
        tiny = [app.send_task("proj.nap", (0,)) for _ in range(400)]
        for result in tiny:
            result.get(timeout=20)
        with worker(tmp_path, redis_url, "second") as second:
            asked = app.send_many(("proj.nap", (0.1,), {}, {}) for _ in range(40))
            until(lambda: ended(first, asked) + ended(second, asked) == 40, "all of them")
            assert min(ended(first, asked), ended(second, asked)) >= 10


def test_what_the_pool_took_back_from_stuck_children_goes_back_too(app: Any, tmp_path: Path, redis_url: str) -> None:
    """Tiny tasks of the same name came before, so the children were given many at once."""
    running = tmp_path / "running"
    with worker(tmp_path, redis_url, "first") as first:
        for result in [app.send_task("proj.nap", (0,)) for _ in range(200)]:
            result.get(timeout=20)
        began = time.monotonic()
        calls: list[Any] = [("proj.nap", (LONG_S, str(running)), {}, {})] * 2 + [("proj.nap", (0.001,), {}, {})] * 30
        results = app.send_many(calls)
        until(lambda: running.exists() and len(running.read_text().split()) == 2, "the long tasks")
        first.until_logged(f"Task proj.nap[{results[2].id}] received")
        with worker(tmp_path, redis_url, "second"):
            assert [result.get(timeout=LONG_S) for result in results[2:]] == [0.001] * 30
            assert time.monotonic() - began < LONG_S
            assert [result.get(timeout=2 * LONG_S) for result in results[:2]] == [LONG_S] * 2


def test_on_rabbitmq_what_turns_out_long_is_shared_too(
    on_rabbitmq: Any, tmp_path: Path, amqp_url: str, redis_url: str
) -> None:
    """There copies of it go to the end of the queue."""
    running = tmp_path / "running"

    def worker(name: str) -> Any:
        return running_worker(tmp_path, "-c", "2", "-n", f"{name}@h", broker=amqp_url, backend=redis_url)

    with worker("first") as first:
        tiny: list[Any] = [("proj.nap", (0,), {}, {})] * 2000
        long: list[Any] = [("proj.nap", (1.5, str(running)), {}, {})] * 24
        results = on_rabbitmq.send_many(tiny + long)
        until(lambda: running.exists() and len(running.read_text().split()) == 2, "the long tasks")
        first.until_logged(f"Task proj.nap[{results[-1].id}] received")  # it holds all of them
        with worker("second") as second:
            assert [result.get(timeout=40) for result in results[2000:]] == [1.5] * 24
            until(lambda: ended(first, results[2000:]) + ended(second, results[2000:]) == 24, "their lines")
            assert ended(second, results[2000:]) >= 4
            assert len(running.read_text().split()) == 24, "one ran twice"
