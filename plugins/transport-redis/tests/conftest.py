# mypy: disable-error-code="no-untyped-call"
"""A database of its own on the session's Redis, connections by our transport, and by kombu's as the peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu import Connection
from kombu.asynchronous import Hub

from bootsteps_transport_redis import Transport

LIMIT_S = 20.0


@pytest.fixture
def url(redis_url: str) -> Iterator[str]:
    mine = redis_url.rpartition("/")[0] + "/11"
    with redis.Redis.from_url(mine) as server:
        server.flushdb()
        yield mine
        server.flushdb()


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def connect(url: str) -> Iterator[Callable[..., Any]]:
    """Make a connection of ours; the arguments are transport options."""
    opened: list[Any] = []

    def make(at: str = "", **options: Any) -> Any:
        opened.append(Connection(at or url, transport=Transport, transport_options=options))
        return opened[-1]

    yield make
    for connection in opened:
        connection.collect()


@pytest.fixture
def peer(url: str) -> Iterator[Callable[..., Any]]:
    """Make a connection of kombu's own transport."""
    opened: list[Any] = []

    def make(**options: Any) -> Any:
        opened.append(Connection(url, transport_options=options))
        return opened[-1]

    yield make
    for connection in opened:
        connection.collect()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def turn(hub: Hub) -> Callable[..., None]:
    """Turn the loop until a condition holds, or for some seconds."""

    def turn(condition: Callable[[], object] | float, limit_s: float = LIMIT_S) -> None:
        entry = hub.call_repeatedly(0.02, lambda: None)  # so that the loop comes to look at the condition
        started = time.monotonic()
        while time.monotonic() - started < condition if isinstance(condition, float) else not condition():
            assert time.monotonic() - started < limit_s, "the loop turned in vain"
            hub.run_once()
        entry.cancel()

    return turn


@pytest.fixture
def drain() -> Callable[..., None]:
    """Drain a connection until there are `n` in the list."""

    def drain(connection: Any, got: list[Any], n: int, limit_s: float = LIMIT_S) -> None:
        ends = time.monotonic() + limit_s
        while len(got) < n:
            connection.drain_events(timeout=ends - time.monotonic())

    return drain
