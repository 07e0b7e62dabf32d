# mypy: disable-error-code="untyped-decorator"
"""The application of Huey on Redis or SQLite: default settings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from huey import RedisHuey, SqliteHuey

import sink

STORED = os.environ["BENCH_RESULTS"] == "1"


def make_huey(url: str) -> Any:
    if url.startswith("redis"):
        return RedisHuey("bench", url=url, results=STORED)
    return SqliteHuey("bench", filename=url.removeprefix("sqlite:///"), results=STORED)


huey = make_huey(os.environ["BENCH_BROKER"])


@huey.task()
def noop(index: int) -> int | None:
    sink.began(index)
    return index if STORED else None


@huey.task()
def nap(index: int, seconds: float) -> None:
    sink.began(index)
    time.sleep(seconds)


def send(index: int) -> Any:
    return noop(index)


def send_nap(index: int, seconds: float) -> None:
    nap(index, seconds)


def send_later(indexes: Iterable[int], seconds: float) -> None:
    for index in indexes:
        noop.schedule((index,), delay=seconds)


def result(sent: Any) -> None:
    sent.get(blocking=True, timeout=30)
