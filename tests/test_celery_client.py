"""An unmodified Celery client and an unmodified Celery worker, on the same broker as ours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import running_worker, until

celery = pytest.importorskip("celery")
pytest.importorskip("sqlalchemy")


@pytest.fixture(params=["redis", "amqp"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def queue() -> str:
    return f"celery-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[Any]:
    results = tmp_path / "state" / "bootsteps" / "proj" / "results.db"
    results.parent.mkdir(parents=True)
    app = celery.Celery("client", broker=url, backend=f"db+sqlite:///{results}")
    yield app
    app.close()


def test_a_celery_client_gets_its_answers_from_our_worker(tmp_path, url, queue, client):
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url):
        asked = [client.send_task("proj.add", (number, 1), queue=queue) for number in range(20)]
        assert [result.get(timeout=20, interval=0.01) for result in asked] == list(range(1, 21))
        failed = client.send_task("proj.fail", ("bad", 42), queue=queue)
        with pytest.raises(ValueError, match="bad"):
            failed.get(timeout=20, interval=0.01)
        unknown = client.send_task("proj.nobody", queue=queue)
        with pytest.raises(celery.exceptions.NotRegistered):
            unknown.get(timeout=20, interval=0.01)
        later = client.send_task("proj.add", (1, 1), countdown=0.5, queue=queue)
        assert later.get(timeout=20, interval=0.01) == 2


WORKER = """
    from celery import Celery
    app = Celery("proj", broker={url!r}, backend="db+sqlite:///{results}", task_default_queue={queue!r})

    @app.task(name="proj.add")
    def add(x, y):
        return x + y
"""


def test_a_celery_worker_runs_what_our_client_asks(tmp_path, url, queue):
    results = tmp_path / "results.db"
    text = WORKER.format(url=url, results=results, queue=queue)
    (tmp_path / "celery_proj.py").write_text(textwrap.dedent(text))
    words = [
        "celery",
        "-A",
        "celery_proj",
        "worker",
        "-P",
        "solo",
        "--without-mingle",
        "--without-gossip",
        "-n",
        f"{queue}@%h",
    ]
    log = (tmp_path / "celery.log").open("wb")
    worker = subprocess.Popen([sys.executable, "-m", *words], cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    app = App("proj", broker=url, backend=f"sqlite:///{results}")
    try:
        asked = [app.send_task("proj.add", (number, 1), queue=queue) for number in range(20)]
        assert [result.get(timeout=60) for result in asked] == list(range(1, 21))
    finally:
        app.close()
        worker.terminate()
        worker.wait(30)
        log.close()


def test_both_workers_share_one_queue(tmp_path, url, queue, client):
    text = WORKER.format(url=url, results=tmp_path / "state/bootsteps/proj/results.db", queue=queue)
    text += "\n    import time\n    @app.task(name='proj.nap')\n    def nap(seconds):\n        time.sleep(seconds)\n"
    (tmp_path / "celery_proj.py").write_text(textwrap.dedent(text))
    words = [
        "celery",
        "-A",
        "celery_proj",
        "worker",
        "-P",
        "solo",
        "--without-mingle",
        "--without-gossip",
        "-n",
        f"{queue}@%h",
        "-l",
        "INFO",
    ]
    with (tmp_path / "celery.log").open("wb") as log:
        theirs = subprocess.Popen([sys.executable, "-m", *words], cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: b" ready." in (tmp_path / "celery.log").read_bytes(), "the Celery worker")
        with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url) as ours:
            asked = [client.send_task("proj.nap", (0.05,), queue=queue) for _ in range(40)]
            for result in asked:
                result.get(timeout=60, interval=0.01)
            logs = (ours.path, tmp_path / "celery.log")
            until(lambda: sum(log.read_text().count("succeeded in") for log in logs) == 40, "a line for each")
            assert 0 < ours.log.count("succeeded in") < 40
    finally:
        theirs.terminate()
        theirs.wait(30)


def test_compressed_arguments_of_a_celery_client_are_read(tmp_path, url, queue, client):
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=url):
        for compression in ("gzip", "bzip2"):
            asked = client.send_task("proj.add", (1, 2), queue=queue, compression=compression)
            assert asked.get(timeout=20, interval=0.01) == 3
