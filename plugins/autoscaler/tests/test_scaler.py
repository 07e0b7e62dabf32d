"""The decisions of the scaler, and its step, without a worker."""

from __future__ import annotations

from typing import Any

import pytest

from bootsteps import POOL, REQUESTS, TIMER, KernelError, ServiceKey, Setting
from bootsteps.testing import FakePool, FakeRequests, FakeTimer, check_step, lifetime
from bootsteps_autoscaler import AUTOSCALER, Autoscaler, scaler
from bootsteps_autoscaler.step import AUTOSCALE, SCALER, AutoscalerStep


def capable(size: int) -> FakePool:
    return FakePool(size, frozenset({"grow", "shrink"}))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(scaler, "monotonic", found)
    return found


class Busy(Autoscaler):
    needed = 0

    @property
    def qty(self) -> int:
        return self.needed


def test_grows_at_once_to_what_is_needed_and_no_further_than_its_range(clock: Clock) -> None:
    found = Busy(FakePool(3), 10, 3)
    for found.needed, size in ((3, 3), (5, 5), (40, 10), (40, 10)):
        found.maybe_scale()
        assert found.processes == size
    assert found.info() == {"max": 10, "min": 3, "current": 10, "qty": 40}


def test_shrinks_after_the_keepalive_to_the_most_that_was_needed_meanwhile(clock: Clock) -> None:
    found = Busy(FakePool(8), 10, 2, keepalive=30)
    for clock.now, found.needed, size in ((1, 6, 8), (20, 1, 8), (30, 1, 8), (31, 1, 6), (60, 5, 6), (62, 0, 5)):
        found.maybe_scale()
        assert (clock.now, found.processes) == (clock.now, size)
    clock.now, found.needed = 100, 0
    found.maybe_scale()
    assert found.processes == 2, "the least"


def test_with_a_least_of_none_one_child_stays(clock: Clock) -> None:
    found = Busy(FakePool(4), 4, 0)
    clock.now = 31
    found.maybe_scale()
    assert found.processes == 1


def test_another_range_holds_at_once_and_a_wrong_one_is_refused(clock: Clock) -> None:
    found = Busy(FakePool(4), 4, 2)
    assert found.update(max=3) == (3, 2)
    assert found.processes == 3
    assert found.update(6, 5) == (6, 5)
    assert found.processes == 5
    for wrong in ((4, None), (0, 0), ("7", None), (None, -1), (True, None)):
        with pytest.raises(KernelError, match="a pool cannot have at most"):
            found.update(*wrong)
    assert (found.max_concurrency, found.min_concurrency) == (6, 5)


def test_by_force_the_range_is_widened(clock: Clock) -> None:
    found = Busy(FakePool(4), 4, 3)
    found.force_scale_up(2)
    assert (found.processes, found.max_concurrency) == (6, 6)
    found.force_scale_down(4)
    assert (found.processes, found.min_concurrency) == (2, 2)


def test_the_step_keeps_its_contract_and_starts_with_the_least() -> None:
    check_step(AutoscalerStep, {POOL: capable(1)}, worker_autoscale="10,3")
    pool, timer = capable(8), FakeTimer()
    requests = FakeRequests([("add", 0.0)] * 5)
    services: dict[ServiceKey[Any], Any] = {POOL: pool, TIMER: timer, REQUESTS: requests}
    with lifetime(AutoscalerStep, services, worker_autoscale=(3, 10)) as worker:
        assert pool.concurrency == 3
        timer.advance(1.0)
        assert worker.get(AUTOSCALER).processes == 5


class Doubles(Autoscaler):
    """As one that was written for Celery."""

    def _maybe_scale(self, req: object = None) -> bool:
        self.scale_up(self.processes)
        return True


def test_a_class_of_ones_own_decides() -> None:
    timer, pool = FakeTimer(), capable(1)
    settings: dict[str, Any] = {"worker_autoscale": 9, "worker_autoscaler": f"{__name__}:Doubles"}
    with lifetime(AutoscalerStep, {POOL: pool, TIMER: timer, REQUESTS: FakeRequests()}, **settings):
        timer.advance(1.0)
        assert pool.concurrency == 4


@pytest.mark.parametrize(("text", "found"), [("10,3", (10, 3)), ("3,10", (10, 3)), ("8", (8, 0)), ([2, 5], (5, 2))])
def test_the_range_is_written_as_in_celery(text: object, found: tuple[int, int]) -> None:
    assert AUTOSCALE.parse(text) == found


@pytest.mark.parametrize(("setting", "text"), [(AUTOSCALE, "a,b"), (AUTOSCALE, "0"), (AUTOSCALE, "1,2,3"), (SCALER, 3)])
def test_what_is_no_range_or_class_is_refused(setting: Setting[object], text: object) -> None:
    with pytest.raises(KernelError, match=f"setting '{setting.name}' cannot be"):
        setting.parse(text)


def test_celerys_own_class_means_ours() -> None:
    assert SCALER.parse("celery.worker.autoscale:Autoscaler") == SCALER.default
