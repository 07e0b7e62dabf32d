"""The contract of every pool, with each way to start children."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bootsteps.testing_pool import check_pool, pool_bench
from bootsteps_worker_pool_prefork.step import PreforkPool


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_keeps_the_contract_of_a_pool(method: str) -> None:
    before, others = sorted(os.listdir("/proc/self/fd")), children()
    check_pool(PreforkPool, worker_concurrency=2, worker_pool_start_method=method)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert children() == others


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_that_exits_is_told_of_and_replaced(method: str) -> None:
    with pool_bench(PreforkPool, worker_concurrency=1, worker_pool_start_method=method) as bench:
        (lost,) = bench.do("exit 7")
        assert str(lost.lost).endswith("exited with status 7")
        assert bench.do("pid")[0].pid != lost.pid


def test_the_server_of_forks_is_replaced_when_it_dies() -> None:
    others = children()
    with pool_bench(PreforkPool, worker_concurrency=2, worker_pool_start_method="forkserver") as bench:
        (first,) = bench.do("pid")
        (nursery,) = set(children()).difference(others)
        os.kill(nursery, signal.SIGKILL)
        bench.until(lambda: first.pid not in bench.pool.info()["processes"])
        (second,) = bench.do("pid")
        assert second.pid != first.pid
        assert nursery not in children()


def children() -> list[int]:
    pid = os.getpid()
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
