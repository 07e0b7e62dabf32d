from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps_result_rpc import RpcBackend
from bootsteps_tasks import App

Open = Callable[..., RpcBackend]


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KERNEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(params=["amqp", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        pytest.importorskip("redis", reason="pip install redis")
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def made(url: str) -> Iterator[Callable[..., App]]:
    """`made(result_serializer="msgpack", ...)` is an application on the broker, closed at the end."""
    apps: list[App] = []

    def make(broker: str = url, **settings: Any) -> App:
        apps.append(App("proj", broker=broker, backend="rpc://", **settings))
        return apps[-1]

    yield make
    for app in apps:
        app.close()
