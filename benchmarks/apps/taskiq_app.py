# mypy: disable-error-code="untyped-decorator"
"""The application of taskiq: a stream on Redis, aio-pika on RabbitMQ, tasks that are coroutines; default settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

import sink

STORED = os.environ["BENCH_RESULTS"] == "1"


def make_broker(url: str) -> Any:
    if url.startswith("redis"):
        return RedisStreamBroker(url, consumer_id="0")  # also what was sent before the group was made
    from taskiq_aio_pika import AioPikaBroker

    return AioPikaBroker(url)


broker = make_broker(os.environ["BENCH_BROKER"])
if STORED:
    broker = broker.with_result_backend(RedisAsyncResultBackend(os.environ["BENCH_BACKEND"]))
loop = asyncio.new_event_loop()


@broker.task
async def noop(index: int) -> int | None:
    sink.began(index)
    return index if STORED else None


@broker.task
async def nap(index: int, seconds: float) -> None:
    sink.began(index)
    await asyncio.sleep(seconds)


def start() -> None:
    """Called in the client alone."""
    loop.run_until_complete(broker.startup())


def send(index: int) -> Any:
    return loop.run_until_complete(noop.kiq(index))


def send_each(indexes: Iterable[int]) -> Any:
    """One after the other within one turn of the event loop, as an asyncio program would."""

    async def each() -> Any:
        return [await noop.kiq(index) for index in indexes][-1]

    return loop.run_until_complete(each())


def send_nap(index: int, seconds: float) -> None:
    loop.run_until_complete(nap.kiq(index, seconds))


def result(sent: Any) -> None:
    loop.run_until_complete(sent.wait_result(timeout=30))
