"""Each result backend with a real worker: results, failures, states on the way, nothing for who wants nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bootsteps_tasks import App
from workers import WorkerProcess, running_worker, until

TASKS = """
    import time
    from pathlib import Path
    from bootsteps_tasks import App
    app = App("proj", result_extended=True)

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def fail(*args):
        raise ValueError(*args)

    @app.task(bind=True, track_started=True)
    def step(self, go):
        self.update_state(state="PROGRESS", meta={"done": 1})
        while not Path(go).exists():
            time.sleep(0.01)
        return self.request.id

    @app.task(bind=True, track_started=True)
    def started(self, go):
        while not Path(go).exists():
            time.sleep(0.01)

    @app.task(ignore_result=True)
    def quiet():
        return 1
"""


@pytest.fixture(params=["redis", "rpc-redis", "rpc-amqp", "postgresql", "sqlite"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Broker and result backend."""
    if request.param.startswith("rpc"):
        return request.getfixturevalue(f"{request.param.removeprefix('rpc-')}_url"), "rpc://"
    if request.param == "postgresql":
        pytest.importorskip("psycopg", reason="pip install 'psycopg[binary]'")
        return "", f"db+{request.getfixturevalue('postgresql_url')}"
    return "", f"db+sqlite:///{tmp_path / 'sql.db'}" if request.param == "sqlite" else request.getfixturevalue(
        "redis_url"
    )


@pytest.fixture
def client(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    broker, backend = urls
    app = App("proj", backend=backend, **({"broker_url": broker} if broker else {}))
    yield app
    app.close()


@pytest.fixture
def worker(urls: tuple[str, str], client: App, tmp_path: Path) -> Iterator[WorkerProcess]:
    broker, backend = urls
    queue = f"q-{tmp_path.name}"
    client.conf.override({"task_default_queue": queue})
    with running_worker(tmp_path, "-c", "2", "-Q", queue, broker=broker, backend=backend, app=TASKS) as worker:
        yield worker


def test_results_of_a_real_worker(client: App, worker: WorkerProcess, tmp_path: Path) -> None:
    results = [client.send_task("proj.add", (number, 1)) for number in range(50)]
    assert [result.get(timeout=30) for result in results] == list(range(1, 51))
    failed = client.send_task("proj.fail", ("bad", 42))
    with pytest.raises(ValueError, match="bad") as caught:
        failed.get(timeout=30)
    assert "In the worker" in "".join(caught.value.__notes__)
    assert (failed.state, failed.result.args) == ("FAILURE", ("bad", 42))

    go = tmp_path / "go"
    step, started = (client.send_task(f"proj.{name}", (str(go),)) for name in ("step", "started"))
    until(lambda: step.state == "PROGRESS", "the state PROGRESS")
    until(lambda: started.state == "STARTED", "the state STARTED")
    assert step.result == {"done": 1}
    assert sorted(started.result) == ["hostname", "pid"]
    go.touch()
    assert step.get(timeout=30) == step.id
    assert started.get(timeout=30) is None

    quiet = client.send_task("proj.quiet")
    until(lambda: f"proj.quiet[{quiet.id}] succeeded" in worker.log, "the quiet task's end")
    assert quiet.state == "PENDING"
    results[0].forget()
    assert client.AsyncResult(results[0].id).state == "PENDING"
