"""The contract of every pool."""

from bootsteps.testing_pool import check_pool
from bootsteps_worker_pool_threads.step import ThreadPool


def test_keeps_the_contract_of_a_pool() -> None:
    check_pool(ThreadPool, worker_concurrency=2)
