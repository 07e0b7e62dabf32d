from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps_result_sqlite import SqliteBackend
from bootsteps_tasks import App

Open = Callable[..., SqliteBackend]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("KERNEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/results/results.db"


@pytest.fixture
def opened(url: str) -> Iterator[Open]:
    """`opened(result_expires=60, ...)` is a backend on the test's file, closed at the end."""
    made: list[SqliteBackend] = []

    def open_(**settings: Any) -> SqliteBackend:
        made.append(SqliteBackend(App("proj", **settings), url))
        return made[-1]

    yield open_
    for backend in made:
        backend.close()
