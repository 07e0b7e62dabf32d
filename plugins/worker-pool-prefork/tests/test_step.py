"""The step, without a child."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bootsteps import HUB, POOL, RUNNER, TIMER, App, KernelError, ServiceKey, Setting, Step
from bootsteps.cores import usable_cores
from bootsteps.testing import FakeHub, FakeTimer, check_step, lifetime, make_blueprint
from bootsteps_worker_pool_prefork.step import PreforkPool


class Nothing:
    def start(self) -> None: ...
    def run(self, payload: bytes) -> bytes:
        return payload

    def flush(self) -> None: ...
    def stop(self) -> None: ...


def test_keeps_the_contract_of_a_step() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    check_step(PreforkPool, {RUNNER: Nothing}, worker_concurrency=2)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_lends_a_pool_with_one_child_per_core() -> None:
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer(), RUNNER: Nothing}
    with lifetime(PreforkPool, services) as worker:
        assert worker.get(POOL).concurrency == usable_cores()
        assert worker.blueprint.info()["pool"]["max-concurrency"] == usable_cores()
        assert worker.blueprint.idle()


def test_a_pool_without_children_is_refused_in_three_parts() -> None:
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer(), RUNNER: Nothing}
    blueprint = make_blueprint([PreforkPool], services, App(worker_concurrency=-1))
    with pytest.raises(KernelError, match=r"worker_concurrency is -1(.|\n)*pool_prefork(.|\n)*try: -c 1"):
        blueprint.apply()


def test_declares_what_the_pool_can_do() -> None:
    assert PreforkPool.capabilities == {
        "terminate",
        "grow",
        "shrink",
        "restart",
        "hard_limit",
        "soft_limit",
        "max_tasks",
        "max_memory",
        "max_memory_hard",
    }


def test_tells_what_celerys_pool_tells() -> None:
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer(), RUNNER: Nothing}
    limits: dict[str, Any] = {"task_soft_time_limit": 2.5, "task_time_limit": 5.0}
    app = App(worker_concurrency=1, worker_max_tasks_per_child=7, **limits)
    blueprint = make_blueprint([PreforkPool, Limits], services, app)
    blueprint.apply()
    blueprint.start()
    told = blueprint.info()["pool"]
    blueprint.stop()
    keys = "implementation max-concurrency processes max-tasks-per-child put-guarded-by-semaphore timeouts writes"
    assert list(told) == keys.split()
    assert (told["timeouts"], told["max-tasks-per-child"]) == ([2.5, 5.0], 7)
    assert told["writes"]["strategy"] == "fair"


class Limits(Step):
    """Reads the limits, as the consumer does."""

    settings = (Setting("task_soft_time_limit", float, 0.0), Setting("task_time_limit", float, 0.0))
