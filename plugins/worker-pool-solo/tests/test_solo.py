"""The pool of one: runs in the loop's thread, one job for each turn."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from bootsteps import HUB, POOL, RUNNER, App, BootError, Catalogue, Job, Outcome, compose
from bootsteps.errors import LackingCapability
from bootsteps.testing import FakeHub, check_step, lifetime
from bootsteps_worker_pool_solo.pool import SoloPool as Pool
from bootsteps_worker_pool_solo.step import SoloPool


class Echo:
    """Returns its payload in capitals; writes down what else is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.during: Callable[[], object] = lambda: None

    def start(self) -> None:
        self.calls.append("start")

    def run(self, payload: bytes) -> bytes:
        if payload == b"raise":
            raise ValueError("runner bug")
        self.during()
        return payload.upper()

    def flush(self) -> None:
        self.calls.append("flush")

    def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def parts() -> tuple[Pool, FakeHub, Echo, list[Outcome]]:
    hub, echo, outcomes = FakeHub(), Echo(), list[Outcome]()
    pool = Pool(hub, lambda: echo)
    pool.connect(outcomes.extend)
    return pool, hub, echo, outcomes


def test_runs_one_job_for_each_turn_and_flushes_before_it_reports(parts):
    pool, hub, echo, outcomes = parts
    pool.connect(lambda batch: outcomes.extend((echo.calls.append("report"), batch[0])[1:]))
    pool.submit([Job(1, b"a"), Job(2, b"b")])
    assert pool.free() == 0
    hub.run_once()
    assert [outcome.payload for outcome in outcomes] == [b"A"]
    hub.run_once()
    assert [outcome.payload for outcome in outcomes] == [b"A", b"B"]
    assert echo.calls == ["flush", "report", "flush", "report"]
    assert pool.free() == 1
    assert outcomes[0].pid == os.getpid()


def test_tells_what_runs_while_it_runs(parts):
    pool, hub, echo, _ = parts
    seen = []
    echo.during = lambda: seen.extend(pool.running())
    pool.submit([Job(7, b"x")])
    hub.run_once()
    assert [job.seq for job in seen] == [7]
    assert pool.running() == []


def test_a_job_whose_runner_fails_is_lost_and_the_next_one_runs(parts):
    pool, hub, _, outcomes = parts
    pool.submit([Job(1, b"raise"), Job(2, b"b")])
    hub.run_once()
    hub.run_once()
    assert outcomes[0].lost == "ValueError: runner bug"
    assert outcomes[1].payload == b"B"


def test_cannot_grow(parts):
    for change in (parts[0].grow, parts[0].shrink):
        with pytest.raises(LackingCapability, match=r"solo pool cannot(.|\n)*try: start the worker with"):
            change()
    assert parts[0].terminate_job(1, 15) is False


def test_the_step_is_the_pool_and_busy_while_it_has_jobs():
    hub = FakeHub()
    with lifetime(SoloPool, {HUB: hub, RUNNER: Echo}) as worker:
        pool = worker.get(POOL)
        assert pool.concurrency == 1
        assert worker.blueprint.idle()
        pool.submit([Job(1, b"x")])
        assert not worker.blueprint.idle()
        hub.run_once()
        assert worker.blueprint.idle()
        assert pool.info()["max-concurrency"] == 1


def test_keeps_the_contract():
    check_step(SoloPool, {RUNNER: Echo})


def test_more_than_one_at_a_time_is_refused_at_boot():
    app = App(worker_concurrency=4, worker_pool="solo")
    app.steps["worker"].update([SoloPool])
    with pytest.raises(BootError, match="worker_concurrency = 4 needs 'concurrency', which pool 'solo' cannot do"):
        compose(app, Catalogue(()))
