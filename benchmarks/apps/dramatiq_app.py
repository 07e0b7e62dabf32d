# mypy: disable-error-code="untyped-decorator"
"""The application of Dramatiq: default settings; the tuned variant differs in the command and the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import dramatiq
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

import sink

STORED = os.environ["BENCH_RESULTS"] == "1"


def make_broker(url: str) -> Any:
    if url.startswith("redis"):
        from dramatiq.brokers.redis import RedisBroker

        return RedisBroker(url=url)
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    return RabbitmqBroker(url=url.removesuffix("//") + "/%2F")


broker = make_broker(os.environ["BENCH_BROKER"])
if STORED:
    broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_BACKEND"]), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(index: int) -> int | None:
    sink.began(index)
    return index if STORED else None


@dramatiq.actor
def nap(index: int, seconds: float) -> None:
    sink.began(index)
    time.sleep(seconds)


def send(index: int) -> Any:
    return noop.send(index)


def send_nap(index: int, seconds: float) -> None:
    nap.send(index, seconds)


def send_later(indexes: Iterable[int], seconds: float) -> None:
    for index in indexes:
        noop.send_with_options(args=(index,), delay=int(seconds * 1000))


def result(sent: Any) -> None:
    sent.get_result(block=True, timeout=30_000)
