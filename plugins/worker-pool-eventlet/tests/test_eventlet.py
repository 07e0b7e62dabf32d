"""The pool on real children."""

from __future__ import annotations

import sys
import time

from bootsteps import RUNNER
from bootsteps.testing import check_step
from bootsteps.testing_pool import TrialRunner, check_pool, pool_bench
from bootsteps_worker_pool_eventlet.step import EventletPool


def test_keeps_the_contract_of_a_step_and_of_a_pool() -> None:
    check_step(EventletPool, {RUNNER: TrialRunner}, worker_concurrency=2)
    check_pool(EventletPool, worker_concurrency=4)


def test_five_hundred_naps_in_one_child_take_little_longer_than_one_and_the_worker_is_not_patched() -> None:
    with pool_bench(EventletPool, worker_concurrency=500) as bench:
        bench.do("echo warm")
        began = time.monotonic()
        pids = {outcome.pid for outcome in bench.done(bench.submit(*["sleep 1"] * 500))}
        assert time.monotonic() - began < 2.0
        assert len(pids) == 1
        assert "eventlet" not in sys.modules
