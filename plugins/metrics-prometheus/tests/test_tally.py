"""Counting, and what a scrape makes of it; with real workers in tests/test_metrics.py."""

from __future__ import annotations

import socket
import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bootsteps import POOL, REQUESTS, KernelError, ServiceKey
from bootsteps.testing import FakePool, FakeRequests, check_step, lifetime
from bootsteps_metrics_prometheus.collector import WorkerCollector
from bootsteps_metrics_prometheus.step import BUCKETS, Metrics
from bootsteps_metrics_prometheus.tally import Tally, exception_in


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ValueError('x')", "ValueError"),
        ("app.errors.Broken(1)", "Broken"),
        ("<Odd object at 0x1>", "Odd"),
        ("!", "Exception"),
        ("", "Exception"),
    ],
)
def test_the_class_of_an_exception_is_read_from_its_repr(text, name):
    assert exception_in(text) == name


def collected(tally: Tally) -> dict[tuple[str, ...], float]:
    made = WorkerCollector(tally, "w@h", lambda key: {"k": "q"}.get(key, key), lambda: 2, lambda: {"q": 7}, lambda: 4)
    samples = [sample for family in made.collect() for sample in family.samples]
    return {(s.name, *(v for k, v in sorted(s.labels.items()) if k != "hostname")): s.value for s in samples}


def test_a_queue_that_is_reached_by_two_keys_is_one():
    tally = Tally((1.0,))
    tally.count("received", "add", "k")
    tally.count("received", "add", "q")
    tally.fail("add", "k", "ValueError")
    tally.fail("add", "q", "ValueError")
    found = collected(tally)
    assert found["celery_task_received_total", "add", "q"] == 2
    assert found["celery_task_failed_total", "ValueError", "add", "q"] == 2
    assert found["celery_queue_length", "q"] == 7


def test_buckets_add_up():
    tally = Tally((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 60.0):
        tally.ran("add", "q", seconds)
    found = collected(tally)
    assert [found["celery_task_runtime_bucket", le, "add", "q"] for le in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
    assert found["celery_task_runtime_count", "add", "q"] == 4
    assert found["celery_task_runtime_sum", "add", "q"] == 63.0


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_step_keeps_the_contract():
    check_step(Metrics, worker_metrics_address="0")


def test_it_answers_on_loopback_what_prometheus_reads():
    port = free()
    services: dict[ServiceKey[Any], Any] = {REQUESTS: FakeRequests(), POOL: FakePool()}
    with lifetime(Metrics, services, worker_metrics_address=str(port)) as worker:
        worker.app.hooks.announce("after_task_publish", name="add", routing_key="q")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
            families = {family.name: family for family in text_string_to_metric_families(page.read().decode())}
    assert families["celery_task_sent"].samples[0].value == 1
    assert families["celery_task_runtime"].type == "histogram"


def test_a_taken_address_and_wrong_settings_are_refused():
    services: dict[ServiceKey[Any], Any] = {REQUESTS: FakeRequests(), POOL: FakePool()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        own = lifetime(Metrics, services, worker_metrics_address=port)
        with pytest.raises(KernelError, match=f"metrics cannot be told on 127.0.0.1:{port}"), own:
            pass
    with pytest.raises(KernelError, match="HOST:PORT"):
        check_step(Metrics, worker_metrics_address="here")
    with pytest.raises(KernelError, match="each greater"):
        check_step(Metrics, worker_metrics_address="0", worker_metrics_buckets="2,1")


def test_the_buckets_are_those_of_the_library():
    from prometheus_client import Histogram

    assert Histogram.DEFAULT_BUCKETS[:-1] == BUCKETS
