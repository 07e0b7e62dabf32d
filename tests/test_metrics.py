"""What a real worker's /metrics says, and that the Grafana board asks for nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services import free_port
from workers import TASKS, running_worker, until

pytest.importorskip("bootsteps_metrics_prometheus")
parser = pytest.importorskip("prometheus_client.parser")

BOARD = Path(__file__).resolve().parent.parent / "plugins" / "metrics-prometheus" / "grafana.json"
MORE = """
    from bootsteps_tasks.errors import Reject

    app.conf.update({"task_default_queue": "metered", "beat_schedule": {
        "often": {"task": "proj.add", "schedule": 0.5, "args": (1, 2)}}})

    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def twice(self):
        if self.request.retries == 0:
            raise self.retry(countdown=0)

    @app.task(acks_late=True)
    def refuse():
        raise Reject("no", requeue=False)
"""
#: Sends one task of each fate, by the broker of the worker in this folder.
SENDS = """
import sys; sys.path.insert(0, ".")
from proj import app, add, fail, twice, refuse, die
for _ in range(5):
    add.delay(1, 2)
fail.delay("no"); twice.delay(); refuse.delay(); die.delay()
@app.hooks.connect("before_task_publish")
def late(headers, properties):  # without a TTL: the broker hands it over all the same
    headers["expires"] = "2020-01-01T00:00:00+00:00"
add.delay(1, 2)
"""


class Samples:
    """What /metrics says now."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
            families = parser.text_string_to_metric_families(page.read().decode())
            self.all = [sample for family in families for sample in family.samples]

    def total(self, name: str, /, **labels: str) -> float:
        """Add up the samples of a name with these labels."""
        return float(sum(s.value for s in self.all if s.name == name and labels.items() <= s.labels.items()))

    def labels(self, name: str) -> set[str]:
        return {label for sample in self.all if sample.name == name for label in sample.labels}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a worker that has run a task of every fate."""
    folder, port = tmp_path_factory.mktemp("metered"), free_port()
    words = ("-c", "2", "-B", f"--metrics-address={port}", "-n", "metered@h")
    with running_worker(folder, *words, app=TASKS + MORE):
        send(folder)
        until(lambda: not missing(Samples(port)), "every fate", 60)
        yield port


def send(folder: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    subprocess.run([sys.executable, "-c", SENDS], cwd=folder, env=env, check=True, timeout=60)


def missing(samples: Samples) -> list[str]:
    """Return the fates that no task has had yet."""
    fates = ("sent", "received", "started", "succeeded", "retried", "rejected", "revoked", "failed")
    kinds = ("ValueError", "WorkerLostError")
    raised = [kind for kind in kinds if not samples.total("celery_task_failed_total", exception=kind)]
    return raised + [fate for fate in fates if not samples.total(f"celery_task_{fate}_total")]


def test_each_fate_is_counted_with_celery_exporters_names_and_labels(port: int) -> None:
    samples = Samples(port)
    own = {"hostname": "metered@h", "queue_name": "metered"}
    assert samples.total("celery_task_failed_total", name="proj.fail", exception="ValueError", **own) == 1
    assert samples.total("celery_task_failed_total", name="proj.die", exception="WorkerLostError", **own) == 1
    assert samples.total("celery_task_retried_total", name="proj.twice", **own) == 1
    assert samples.total("celery_task_succeeded_total", name="proj.twice", **own) == 1
    assert samples.total("celery_task_rejected_total", name="proj.refuse", **own) == 1
    assert samples.total("celery_task_revoked_total", name="proj.add", **own) == 1
    assert samples.total("celery_task_sent_total", name="proj.add", **own) >= 1
    assert samples.total("celery_task_succeeded_total", name="proj.add", **own) >= 5
    assert samples.labels("celery_task_started_total") == {"name", "hostname", "queue_name"}
    assert samples.total("celery_worker_up", hostname="metered@h") == 1
    assert samples.total("celery_active_process_count", queue_name="metered") == 2


def test_run_times_are_those_of_the_tasks_that_succeeded(port: int) -> None:
    def agree() -> bool:
        found = Samples(port)
        total, beyond = found.total("celery_task_runtime_count"), found.total("celery_task_runtime_bucket", le="+Inf")
        return total == beyond == found.total("celery_task_succeeded_total") > 0

    until(agree, "as many run times as successes")


def test_what_is_counted_survives_the_children(tmp_path: Path) -> None:
    port = free_port()
    words = ("-c", "1", "--max-tasks-per-child=1", f"--metrics-address={port}")
    with running_worker(tmp_path, *words, app=TASKS + MORE):
        send(tmp_path)
        until(lambda: Samples(port).total("celery_task_succeeded_total", name="proj.add") == 5, "five tasks", 60)


def expressions() -> list[str]:
    board = json.loads(BOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return the metrics that an expression asks for, each with the labels that it selects by."""
    found = re.findall(r"\b(celery_\w+)(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*=~?", labels))) for name, labels in found]


@pytest.mark.parametrize("expression", expressions(), ids=range(len(expressions())))
def test_the_board_asks_for_what_there_is(expression: str, port: int) -> None:
    samples, asked = Samples(port), selectors(expression)
    assert asked
    for name, labels in asked:
        assert labels <= samples.labels(name) != set(), f"{name} has {samples.labels(name)}"
    together = set.union(*(samples.labels(name) for name, _ in asked)) | {"instance"}  # which Prometheus adds
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", group)) <= together
    assert expression.count("(") == expression.count(")")


def test_the_boards_variables_are_labels_that_there_are(port: int) -> None:
    samples = Samples(port)
    variables: list[dict[str, Any]] = json.loads(BOARD.read_text())["templating"]["list"]
    asked = [re.fullmatch(r"label_values\((\w+), (\w+)\)", v["query"]) for v in variables if v["type"] == "query"]
    assert len(asked) == 3
    for match in asked:
        assert match is not None
        assert match[2] in samples.labels(match[1])


def test_without_an_address_nothing_is_counted(tmp_path: Path) -> None:
    with running_worker(tmp_path, "-c", "1") as worker:
        assert "metrics are told" not in worker.log
        assert "step Metrics" not in worker.log
        assert worker.stop() == 0
