from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from bootsteps_result_redis import RedisBackend
from bootsteps_tasks import App

Open = Callable[..., RedisBackend]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KERNEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def url(redis_url: str) -> str:
    """A database on the server that all tests share; those of other files leave things in it."""
    return f"{redis_url.rpartition('/')[0]}/9"


@pytest.fixture
def server(url: str) -> Iterator[redis.Redis]:
    """A client to look behind the backend's back; the database is empty."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def opened(url: str, server: redis.Redis) -> Iterator[Open]:
    """`opened(result_expires=60, ...)` is a backend on the server, closed at the end."""
    made: list[RedisBackend] = []

    def open_(at: str = url, **settings: Any) -> RedisBackend:
        made.append(RedisBackend(App("proj", **settings), at))
        return made[-1]

    yield open_
    for backend in made:
        backend.close()
