"""The parts that need no child."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bootsteps import HUB, POOL, RUNNER, TIMER, App, Job, KernelError, ServiceKey
from bootsteps.cores import usable_cores
from bootsteps.testing import FakeHub, FakeTimer, check_step, lifetime, make_blueprint
from bootsteps_worker_pool_prefork.frames import (
    Frame,
    Inbox,
    Record,
    pack_jobs,
    pack_outcomes,
    unpack_jobs,
    unpack_outcomes,
)
from bootsteps_worker_pool_prefork.load import HELD_MOST, WINDOW_S, Load, RunTimes
from bootsteps_worker_pool_prefork.shared import Claims, Slot
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
    blueprint = make_blueprint([PreforkPool], services, App(worker_concurrency=0))
    with pytest.raises(KernelError, match=r"worker_concurrency is 0(.|\n)*worker_pool_prefork(.|\n)*try: -c 1"):
        blueprint.apply()


def test_declares_what_the_pool_can_do() -> None:
    assert PreforkPool.capabilities == {
        "terminate",
        "grow",
        "shrink",
        "hard_limit",
        "soft_limit",
        "max_tasks",
        "max_memory",
    }


@pytest.mark.parametrize("cut", [1, 7, 13, 64, 100_000])
def test_frames_come_out_whole_however_they_are_cut(cut: int) -> None:
    jobs = [Job(0, b""), Job(2**63, b"payload"), Job(7, b"x" * 1000, soft_time_limit_s=2.5)]
    stream = pack_jobs(jobs) + pack_jobs(jobs[:1])
    inbox = Inbox()
    found: list[Frame] = []
    for at in range(0, len(stream), cut):
        inbox.feed(stream[at : at + cut])
        found += inbox.frames()
    assert [unpack_jobs(frame) for frame in found] == [
        [(0, b"", 0.0), (2**63, b"payload", 0.0), (7, b"x" * 1000, 2.5)],
        [(0, b"", 0.0)],
    ]


def test_outcomes_travel_with_their_reason() -> None:
    inbox = Inbox()
    inbox.feed(pack_outcomes([Record(1, 0.5, False, b"fine"), Record(2, 0.25, True, b"lost \xff")]))
    (frame,) = inbox.frames()
    fine, lost = unpack_outcomes(frame, 4711)
    assert (fine.seq, fine.payload, fine.lost, fine.runtime_s, fine.pid) == (1, b"fine", None, 0.5, 4711)
    assert (lost.seq, lost.payload, lost.lost, lost.runtime_s) == (2, b"", "lost \ufffd", 0.25)


def test_a_claim_is_had_once() -> None:
    claims = Claims()
    try:
        claims.offer([1, 2, 3, 2**63])
        assert claims.claim() == 1
        assert claims.take_back() == [2, 3, 2**63]
        assert claims.claim() is None
        assert claims.take_back() == []
    finally:
        claims.close()


def test_a_slot_tells_what_runs() -> None:
    slot = Slot()
    assert slot.read() is None
    slot.begin(0, 12.5)
    assert slot.read() == (0, 12.5)
    slot.clear()
    assert slot.read() is None
    slot.close()


def filled(*expected: float) -> Load:
    load = Load()
    for seq, seconds in enumerate(expected):
        load.add(Job(seq, b""), seconds, now=0.0)
    return load


def test_a_child_holds_a_few_milliseconds_beyond_its_running_job() -> None:
    assert filled().takes(3600.0), "an idle child takes anything"
    assert filled(0.001).takes(0.001)
    assert filled(0.001, 0.004).takes(0.001)
    assert not filled(0.001, 0.004, 0.001).takes(0.001)
    assert not filled(1.0).takes(0.001), "nothing goes behind a long one"
    assert not filled(0.001).takes(1.0), "and a long one behind nothing"
    assert not filled(*[1e-6] * HELD_MOST).takes(1e-6)


def test_room_is_counted_in_typical_jobs() -> None:
    assert filled().room(None) == 1
    assert filled(0.001).room(None) == 0
    assert filled().room(1.0) == 1
    assert filled().room(0.001) == 1 + int(WINDOW_S / 0.001)
    assert filled(0.001, 0.002).room(0.001) == 3
    assert filled().room(1e-6) == HELD_MOST
    assert filled(1.0).room(1e-6) == 0


def test_a_child_that_says_nothing_is_overdue_and_stuck_until_it_reports() -> None:
    load = filled(0.001, 0.001)
    assert not load.overdue(0.02)
    assert load.overdue(0.023)
    load.stuck = True
    assert not load.overdue(1.0)
    assert not load.takes(0.001)
    load.reported(1.0)
    assert load.takes(0.001)
    assert not filled(0.001).overdue(9.0), "nothing waits behind it"


def test_run_times_are_weighted_means() -> None:
    times = RunTimes()
    assert times.expected("a") > 1000
    assert times.typical is None
    times.note("a", 1.0)
    times.note("a", 2.0)
    assert times.expected("a") == pytest.approx(1.1)
    assert times.typical == pytest.approx(1.1)
    assert times.expected("b") > 1000
