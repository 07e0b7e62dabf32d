# mypy: disable-error-code="no-untyped-call"
"""Connections by our transport, and by kombu's as the peer, to queues of each test's own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection
from kombu.asynchronous import Hub

from bootsteps_transport_amqp import Transport

LIMIT_S = 30.0


@pytest.fixture
def name() -> str:
    return f"amqp-{os.getpid()}-{uuid4().hex[:8]}"


@pytest.fixture
def connect(amqp_url: str) -> Iterator[Callable[..., Any]]:
    """Make a connection of ours; the arguments are transport options."""
    opened: list[Any] = []

    def make(**options: Any) -> Any:
        opened.append(Connection(amqp_url, transport=Transport, transport_options=options))
        return opened[-1]

    yield make
    for connection in opened:
        connection.collect(socket_timeout=1)


@pytest.fixture
def peer(amqp_url: str, name: str) -> Iterator[Any]:
    """A channel of kombu's own transport; the queue of the test is gone with it."""
    with Connection(amqp_url) as connection:
        channel = connection.channel()
        yield channel
        connection.channel().queue_delete(name)


@pytest.fixture
def hub() -> Iterator[Any]:
    found = Hub()
    yield found
    found.close()


@pytest.fixture
def until() -> Callable[..., None]:
    def wait(true: Callable[[], object], turn: Callable[[], object] = lambda: time.sleep(0.02)) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < deadline, "it did not come true"
            turn()

    return wait
