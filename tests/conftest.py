"""Fixtures for the tests that start whole workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pairs import PAIRS, Pair, PairKind, running_pair


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An application of the name that `workers.running_worker` uses, hence on the same embedded broker and results."""
    tasks = pytest.importorskip("bootsteps_tasks")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = tasks.App("proj")
    yield app
    app.close()


@pytest.fixture(scope="session", params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A client and a running worker, each ours or Celery's; see pairs.py."""
    kind: PairKind = request.param
    pytest.importorskip("bootsteps_tasks")
    if "celery" in (kind.client, kind.worker):
        pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
    folder = tmp_path_factory.mktemp(str(kind))
    places = {"sqlite": f"sqlite:///{folder}/broker.db", "sql": f"db+sqlite:///{folder}/results.db"}
    if "redis" in (kind.broker, kind.backend):
        pytest.importorskip("bootsteps_result_redis")
        places["redis"] = f"{request.getfixturevalue('redis_url').rpartition('/')[0]}/7"
    if kind.broker == "amqp":
        places["amqp"] = request.getfixturevalue("amqp_url")
    if kind.backend == "sql":
        pytest.importorskip("bootsteps_result_sql")
    broker = places[kind.broker]
    backend = f"sqlite:///{folder}/results.db" if kind.backend == "sqlite" else places[kind.backend]
    with running_pair(kind, folder, broker, backend) as found:
        yield found
