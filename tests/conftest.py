"""Fixtures for the tests that start whole workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An application of the name that `workers.running_worker` uses, hence on the same embedded broker and results."""
    tasks = pytest.importorskip("bootsteps_tasks")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = tasks.App("proj")
    yield app
    app.close()
