"""A clean environment for each test: no settings from outside, no state of another test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootsteps_tasks import App, places

Install = Callable[[str, str, str], None]


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("KERNEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    _forget()
    yield
    _forget()


def _forget() -> None:
    """Forget what tests leave in the process, also those of other plugins: kombu's memory transport has one state."""
    places.catalogue.cache_clear()
    memory = sys.modules.get("kombu.transport.memory")
    if memory is not None:
        memory.Transport.global_state.clear()
        memory.Channel.queues.clear()


@pytest.fixture
def app() -> Iterator[App]:
    app = App("proj", broker="memory://", backend="disabled://")
    yield app
    app.close()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a module and a distribution with one entry point on `sys.path`: `install(group, point, code)`."""

    def install(group: str, point: str, code: str) -> None:
        site = tmp_path / f"site-{point.split(' ')[0]}"
        info = site / f"fake_{point.split(' ')[0]}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{point.split(' ')[0]}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        module = point.partition("=")[2].partition(":")[0].strip()
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        places.catalogue.cache_clear()

    return install
