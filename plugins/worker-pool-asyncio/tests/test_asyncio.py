"""The pool on real children."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from bootsteps import RUNNER
from bootsteps.testing import check_step
from bootsteps.testing_pool import TrialRunner, check_pool, pool_bench
from bootsteps_worker_pool_asyncio.step import AsyncioPool


def test_keeps_the_contract_of_a_step_and_of_a_pool() -> None:
    check_step(AsyncioPool, {RUNNER: TrialRunner}, worker_concurrency=2)
    check_pool(AsyncioPool, worker_concurrency=4)


def test_two_thousand_naps_in_one_child_take_little_longer_than_one() -> None:
    with pool_bench(AsyncioPool, worker_concurrency=2000) as bench:
        bench.do("echo warm")
        tries: list[float] = []
        while not tries or (min(tries) > 1.3 and len(tries) < 5):  # others may have the machine for a moment
            began = time.monotonic()
            seqs = bench.submit(*["await 1"] * 2000)
            assert len({outcome.pid for outcome in bench.done(seqs)}) == 1
            tries.append(time.monotonic() - began)
        assert min(tries) <= 1.3, tries


def test_growing_lets_more_run_in_the_same_child_and_shrinking_fewer() -> None:
    with pool_bench(AsyncioPool, worker_concurrency=2) as bench:
        bench.do("echo warm")
        pids = bench.pool.info()["processes"]
        assert bench.pool.free() == 2
        bench.pool.grow(3)
        naps = bench.submit(*["await 0.3"] * 5)
        assert bench.pool.free() == 0
        assert bench.pool.info()["running-threads"] == 5
        bench.pool.shrink(4)
        assert [outcome.lost for outcome in bench.done(naps)] == [None] * 5
        assert (bench.pool.free(), bench.pool.info()["processes"]) == (1, pids)


def test_children_share_the_concurrency_and_a_full_share_is_replaced_while_its_last_jobs_run() -> None:
    settings: dict[str, Any] = {"worker_pool_children": 2, "worker_max_tasks_per_child": 4}
    with pool_bench(AsyncioPool, worker_concurrency=4, **settings) as bench:
        slow = bench.submit("await 1.5", "await 1.5")
        quick = bench.done(bench.submit(*["pid"] * 30))
        assert not any(seq in bench.outcomes for seq in slow), "nobody waits for a child that finishes its work"
        assert len({outcome.pid for outcome in quick}) >= 7
        assert [outcome.lost for outcome in bench.done(slow)] == [None, None]


def test_a_job_that_blocks_the_loop_costs_its_child_and_the_others_are_lost_with_a_reason() -> None:
    with pool_bench(AsyncioPool, worker_concurrency=10) as bench:
        (first,) = bench.do("pid")
        others = bench.submit(*["await 20"] * 5)
        bench.running(others)
        began = time.monotonic()
        (late,) = bench.done(bench.submit("spin", hard=0.3))
        assert late.timed_out == 0.3
        assert {str(outcome.lost).partition(", ")[2] for outcome in bench.done(others)} == {
            "since a job that was to end in it did not"
        }
        assert bench.do("echo again")[0].pid != first.pid
        assert time.monotonic() - began < 2.0


def test_a_coroutine_that_catches_its_cancellation_once_is_cancelled_again() -> None:
    with pool_bench(AsyncioPool, Stubborn, worker_concurrency=10) as bench:
        (first,) = bench.do("pid")
        (seq,) = bench.submit("catch")
        bench.running([seq])
        assert bench.pool.terminate_job(seq, 15)
        assert bench.done([seq])[0].lost == "it was cancelled"
        assert bench.do("pid")[0].payload == first.payload


class Stubborn(TrialRunner):
    async def run_async(self, payload: bytes) -> bytes:
        if payload == b"catch":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)
        return await super().run_async(payload)
