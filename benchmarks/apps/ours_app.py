"""The application of ours: default settings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import sink
from bootsteps_tasks import App

STORED = os.environ["BENCH_RESULTS"] == "1"
app = App("ours_app", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BACKEND"])


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
    return app.send_many((noop, (index,), {}, {}) for index in indexes)[-1]


def send_nap(index: int, seconds: float) -> None:
    nap.delay(index, seconds)


def send_later(indexes: Iterable[int], seconds: float) -> None:
    app.send_many((noop, (index,), {}, {"countdown": seconds}) for index in indexes)


def result(sent: Any) -> None:
    sent.get(timeout=30)
