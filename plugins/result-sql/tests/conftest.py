from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from bootsteps_result_sql import SqlBackend
from bootsteps_tasks import App

Open = Callable[..., SqlBackend]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KERNEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"db+sqlite:///{tmp_path / 'results.db'}"
    pytest.importorskip("psycopg", reason="pip install 'psycopg[binary]'")
    return f"db+{request.getfixturevalue('postgresql_url')}"


@pytest.fixture
def engine(url: str) -> Iterator[sqlalchemy.Engine]:
    """To look behind the backend's back; there are no tables of results yet."""
    engine = sqlalchemy.create_engine(url.removeprefix("db+"))
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def opened(url: str, engine: sqlalchemy.Engine) -> Iterator[Open]:
    """`opened(result_expires=60, ...)` is a backend in the database, closed at the end."""
    made: list[SqlBackend] = []

    def open_(at: str = url, **settings: Any) -> SqlBackend:
        made.append(SqlBackend(App("proj", **settings), at))
        return made[-1]

    yield open_
    for backend in made:
        backend.close()
