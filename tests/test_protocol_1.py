"""Messages of protocol 1, as a real Celery client writes them, and the mixture of both."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers import running_worker

celery = pytest.importorskip("celery")
pytest.importorskip("sqlalchemy")


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[Any]:
    results = tmp_path / "state" / "bootsteps" / "proj" / "results.db"
    results.parent.mkdir(parents=True)
    queue = f"v1-{os.getpid()}-{time.monotonic_ns()}"
    backend = f"db+sqlite:///{results}"
    app = celery.Celery("client", broker=url, backend=backend, task_protocol=1, task_default_queue=queue)
    yield app
    app.close()


def test_a_celery_client_that_writes_protocol_1_is_served(tmp_path, url, client):
    queue = client.conf.task_default_queue
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url) as worker:

        def get(*args: Any, **options: Any) -> Any:
            return client.send_task(*args, **options).get(timeout=20, interval=0.01)

        assert get("proj.add", (1, 2)) == 3
        assert get("proj.add", kwargs={"x": 1, "y": 2}) == 3
        assert get("proj.add", (1, 2), compression="gzip") == 3
        with pytest.raises(ValueError, match="bad"):
            get("proj.fail", ("bad",))
        with pytest.raises(celery.exceptions.TaskRevokedError, match="expired"):
            get("proj.add", (1, 2), countdown=2, expires=1)
        began = time.monotonic()
        assert get("proj.add", (1, 2), countdown=1) == 3
        assert time.monotonic() - began >= 0.9
        assert get("proj.whoami", retries=2)["retries"] == 2
        revoked = client.send_task("proj.nap", (60,), time_limit=0.5)
        with pytest.raises(Exception, match=r"0\.5"):
            revoked.get(timeout=20, interval=0.01)
        hybrid = {"args": [5], "kwargs": {"y": 6}, "callbacks": None}
        with client.connection_for_write() as connection:
            connection.Producer().publish(
                json.dumps(hybrid), exchange="", routing_key=queue, headers={"task": "proj.add", "id": "hybrid"},
                content_type="application/json", content_encoding="utf-8",
            )  # fmt: skip
            connection.Producer().publish([1, 2], exchange="", routing_key=queue)
        assert client.AsyncResult("hybrid").get(timeout=20, interval=0.01) == 11
        worker.until_logged("it names no task, neither in its headers nor")
        assert worker.stop() == 0
