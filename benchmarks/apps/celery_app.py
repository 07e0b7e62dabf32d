# mypy: disable-error-code="untyped-decorator"
"""The application of Celery: default settings, or those that its guides recommend for speed (BENCH_VARIANT=tuned)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from celery import Celery

import sink

STORED = os.environ["BENCH_RESULTS"] == "1"
app = Celery("celery_app", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BACKEND"])
if os.environ["BENCH_VARIANT"] == "tuned":
    app.conf.update(worker_prefetch_multiplier=128, worker_disable_rate_limits=True, broker_pool_limit=10)


@app.task(ignore_result=not STORED)
def noop(index: int) -> int | None:
    sink.began(index)
    return index if STORED else None


@app.task(ignore_result=not STORED)
def nap(index: int, seconds: float) -> None:
    sink.began(index)
    time.sleep(seconds)


def send(index: int) -> Any:
    return noop.delay(index)


def send_bulk(indexes: Iterable[int]) -> Any:
    """One producer for all, in kombu's batch where the transport has one (Redis)."""
    with app.producer_pool.acquire() as producer:
        if not os.environ["BENCH_BROKER"].startswith("redis"):
            return [noop.apply_async((index,), producer=producer) for index in indexes][-1]
        with producer.batch(max_size=500):
            return [noop.apply_async((index,), producer=producer) for index in indexes][-1]


def send_nap(index: int, seconds: float) -> None:
    nap.delay(index, seconds)


def send_later(indexes: Iterable[int], seconds: float) -> None:
    with app.producer_pool.acquire() as producer:
        for index in indexes:
            noop.apply_async((index,), countdown=seconds, producer=producer)


def result(sent: Any) -> None:
    sent.get(timeout=30)
