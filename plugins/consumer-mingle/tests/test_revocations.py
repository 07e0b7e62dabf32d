"""Revokes that were made while no worker was up."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps import TIMER, Blueprint, ServiceKey
from bootsteps.testing import FakeTimer, check_step, make_blueprint
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_mingle.waiting import Revocations
from bootsteps_consumer_tasks import REVOKED
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_tasks import App
from bootsteps_tasks.control import REVOKED_KEPT, revoked_queue


class Life:
    """A consumer on kombu's broker in memory."""

    def __init__(self, app: App, connection: Any) -> None:
        self.revoked, self.timer = Revoked(), FakeTimer()
        services: dict[ServiceKey[Any], Any] = {TIMER: self.timer, REVOKED: self.revoked, CONNECTION: connection}
        self.blueprint: Blueprint = make_blueprint([Revocations], services, app)
        self.blueprint.apply()
        self.blueprint.start()


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App("proj", broker="memory://", control_exchange=f"in-{tmp_path.name}")


@pytest.fixture
def connection(app: App) -> Iterator[Any]:
    with app.connection() as connection:
        yield connection


def put(connection: Any, app: App, body: Any, **options: Any) -> None:
    with connection.channel() as channel:
        queue = revoked_queue(app)(channel)
        queue.queue_declare()
        connection.Producer(channel).publish(body, routing_key=queue.name, serializer="json", **options)


def left(connection: Any, app: App) -> int:
    with connection.channel() as channel:
        return int(revoked_queue(app)(channel).queue_declare().message_count)


def test_keeps_the_contract(app: App, connection: Any) -> None:
    services: dict[ServiceKey[Any], Any] = {TIMER: FakeTimer(), REVOKED: Revoked(), CONNECTION: connection}
    check_step(Revocations, services, app=App, broker="memory://")


def test_what_was_revoked_is_known_at_the_start_and_no_longer_waits(app: App, connection: Any) -> None:
    app.revoke(["a", "b"])
    app.revoke("c", terminate=True)
    assert left(connection, app) == 2
    life = Life(app, connection)
    assert life.revoked.snapshot() == ["a", "b", "c"]
    assert left(connection, app) == 0


def test_what_comes_later_is_cleared_away(app: App, connection: Any) -> None:
    life = Life(app, connection)
    app.revoke("later")
    assert left(connection, app) == 1
    life.timer.advance(30)
    assert life.revoked.snapshot() == ["later"]
    assert left(connection, app) == 0
    life.blueprint.stop()
    assert life.timer.pending == 0


def test_one_that_is_named_is_meant_alone(app: App, connection: Any) -> None:
    from bootsteps_tasks import control

    control.revoke(app, "a", destination=["w@h"])
    assert left(connection, app) == 0


def test_three_hours_are_enough(app: App, connection: Any) -> None:
    put(connection, app, {"ids": ["old"], "at": time.time() - 10_801})
    put(connection, app, {"ids": ["not so old"], "at": time.time() - 10_000})
    life = Life(app, connection)
    assert life.revoked.snapshot() == ["not so old"]


@pytest.mark.parametrize("body", ["text", [], {"ids": "abc"}, {"ids": [1], "at": 0}, {"ids": ["a"], "at": "noon"}])
def test_rubbish_hurts_nobody(app: App, connection: Any, caplog: pytest.LogCaptureFixture, body: Any) -> None:
    put(connection, app, body)
    put(connection, app, {"ids": ["good"], "at": time.time()})
    with caplog.at_level(logging.ERROR):
        life = Life(app, connection)
    assert life.revoked.snapshot() == ["good"]
    assert "cannot be read" in caplog.text


def test_they_are_not_kept_without_end(app: App, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REVOKED_KEPT == 50_000
    monkeypatch.setattr("bootsteps_tasks.control.REVOKED_KEPT", 3)
    for number in range(10):
        app.revoke(str(number))
    assert left(connection, app) <= 4
    life = Life(app, connection)
    assert life.revoked.snapshot()[-3:] == ["7", "8", "9"]
