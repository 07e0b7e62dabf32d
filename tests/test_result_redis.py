"""Our worker with broker and results in Redis, asked by our client and by an unmodified Celery client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import running_worker, until


@pytest.fixture
def queue() -> str:
    return f"results-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def url(redis_url: str) -> str:
    """A database of our own on the server that all tests share."""
    return f"{redis_url.rpartition('/')[0]}/8"


@pytest.fixture
def client(url: str) -> Iterator[App]:
    app = App("client", broker=url, backend=url)
    yield app
    app.close()


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_our_client_gets_its_answers(tmp_path, url, queue, client, pool):
    words = ("-P", pool, "-c", "2") if pool == "prefork" else ("-P", pool)
    with running_worker(tmp_path, *words, "-Q", queue, broker=url, backend=url) as worker:
        asked = [client.send_task("proj.add", (number, 1), queue=queue) for number in range(300)]
        assert [result.get(timeout=30) for result in asked] == list(range(1, 301))
        failed = client.send_task("proj.fail", ("bad", 42), queue=queue)
        with pytest.raises(ValueError, match="bad"):
            failed.get(timeout=20)
        assert (failed.state, "in fail" in failed.traceback) == ("FAILURE", True)
        assert worker.stop() == 0


def test_a_killed_connection_costs_the_worker_and_the_client_no_result(tmp_path, url, queue, client):
    redis = pytest.importorskip("redis")
    with (
        redis.Redis.from_url(url) as server,
        running_worker(tmp_path, "-P", "solo", "-Q", queue, broker=url, backend=url),
    ):
        assert client.send_task("proj.add", (1, 1), queue=queue).get(timeout=20) == 2
        mark = tmp_path / "mark"
        nap = client.send_task("proj.nap", (0.5, str(mark)), queue=queue)
        until(mark.exists, "the start of the task")
        own = server.client_id()
        others = [found["id"] for found in server.client_list() if found["db"] == "8" and int(found["id"]) != own]
        assert others
        for number in others:
            server.client_kill_filter(_id=number)
        assert nap.get(timeout=60) == 0.5


def test_a_celery_client_gets_its_answers(tmp_path, url, queue):
    celery = pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
    app: Any = celery.Celery("client", broker=url, backend=url)
    with running_worker(tmp_path, "-P", "prefork", "-c", "2", "-Q", queue, broker=url, backend=url):
        asked = [app.send_task("proj.add", (number, 1), queue=queue) for number in range(300)]
        assert [result.get(timeout=30) for result in asked] == list(range(1, 301))
        late = app.send_task("proj.nap", (0.5,), queue=queue)
        assert late.get(timeout=30) == 0.5  # by the message: Celery looks once and then listens
        failed = app.send_task("proj.fail", ("bad", 42), queue=queue)
        with pytest.raises(ValueError, match="bad"):
            failed.get(timeout=30)
    app.backend.result_consumer.stop()
    app.close()
