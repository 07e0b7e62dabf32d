"""Traces from the producer through real pool children, gathered by an exporter that OpenTelemetry finds installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from workers import TASKS, running_worker, until

pytest.importorskip("bootsteps_otel")

#: TEST_TRACED_CHILDREN=1000 is the full size.
CHILDREN = int(os.environ.get("TEST_TRACED_CHILDREN", "150"))

#: A line for each span, in a file for each process; its pid may come again.
EXPORTER = """
import json, os, time
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

class Files(SpanExporter):
    def __init__(self):
        self.path = os.path.join(os.environ["SPANS"], f"{os.getpid()}-{time.monotonic_ns()}.spans")

    def export(self, spans):
        lines = []
        for span in spans:
            parent = span.parent and format(span.parent.span_id, "016x")
            facts = {"name": span.name, "trace": format(span.context.trace_id, "032x"), "parent": parent,
                     "span": format(span.context.span_id, "016x"), "kind": span.kind.name,
                     "attributes": dict(span.attributes), "service": span.resource.attributes["service.name"]}
            lines.append(json.dumps(facts, default=str) + "\\n")
        with open(self.path, "a") as file:
            file.write("".join(lines))
        return SpanExportResult.SUCCESS
"""
MORE = """
    @app.task
    def outer():
        add.delay(1, 2)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an exporter `files` is installed and chosen; what it exports is in `spans`."""
    (tmp_path / "file_exporter.py").write_text(EXPORTER)
    info = tmp_path / "file_exporter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: file-exporter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[opentelemetry_traces_exporter]\nfiles = file_exporter:Files\n")
    (tmp_path / "spans").mkdir()
    monkeypatch.setenv("SPANS", str(tmp_path / "spans"))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "files")
    return tmp_path


def exported(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "spans").glob("*.spans"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def send(folder: Path, program: str) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=env, check=True, timeout=100)


@pytest.mark.timeout(100 + CHILDREN // 3)
def test_each_of_many_children_with_one_task_exports_its_span(folder: Path) -> None:
    with running_worker(folder, "-c", "2", "--max-tasks-per-child=1", "-l", "INFO") as worker:
        send(folder, f"from proj import add\nfor n in range({CHILDREN}): add.delay(n, 1)")
        until(lambda: len(os.listdir(folder / "spans")) == CHILDREN + 1, "the spans of each child", 60 + CHILDREN // 4)
        until(lambda: len(runs(folder)) == CHILDREN, "all spans")
        assert worker.stop() == 0
    spans = exported(folder)
    sent = {span["span"]: span for span in spans if span["kind"] == "PRODUCER"}
    assert len(sent) == len(spans) - len(runs(folder)) == CHILDREN
    assert len({span["attributes"]["messaging.message.id"] for span in runs(folder)}) == CHILDREN
    for span in runs(folder):
        assert span["trace"] == sent[span["parent"]]["trace"]
        assert (span["name"], span["service"], span["attributes"]["celery.state"]) == (
            "run/proj.add",
            "proj",
            "SUCCESS",
        )
    assert len(list((folder / "spans").glob("*.spans"))) == CHILDREN + 1


def runs(folder: Path) -> list[dict[str, Any]]:
    return [span for span in exported(folder) if span["kind"] == "CONSUMER"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_what_a_task_sends_belongs_to_its_trace(folder: Path, pool: str) -> None:
    with running_worker(folder, "-P", pool, app=TASKS + MORE) as worker:
        send(folder, "from proj import outer; outer.delay()")
        worker.until_logged(" succeeded in ", times=2)
        assert worker.stop() == 0
    spans = {span["name"]: span for span in exported(folder)}
    assert Counter(span["trace"] for span in exported(folder)).most_common() == [(spans["run/proj.add"]["trace"], 4)]
    chain = ["apply_async/proj.outer", "run/proj.outer", "apply_async/proj.add", "run/proj.add"]
    for caller, called in pairwise(chain):
        assert spans[called]["parent"] == spans[caller]["span"]


def test_the_header_is_where_celerys_instrumentation_puts_and_looks_for_it(folder: Path, redis_url: str) -> None:
    """As it does: `inject(headers)` at a Celery producer, and the worker's `request.traceparent`."""
    queue = f"traces-{os.getpid()}"
    broker = f"{redis_url.rpartition('/')[0]}/9"
    ours = f"from bootsteps_tasks import App\napp = App('proj', broker={broker!r}, task_default_queue={queue!r})\n"
    ours += "app.send_task('proj.add', (1, 2), ignore_result=True)"
    celerys = f"import celery\napp = celery.Celery('proj', broker={broker!r})\n"
    celerys += "head = {'traceparent': '00-' + 'ab' * 16 + '-' + 'cd' * 8 + '-01'}\n"
    celerys += f"app.send_task('proj.add', (1, 2), headers=head, queue={queue!r}, ignore_result=True)"
    send(folder, ours)
    assert "traceparent" in heard_by_celery(folder, broker, queue)
    with running_worker(folder, "-c", "1", "-Q", queue, broker=broker) as worker:
        send(folder, celerys)
        worker.until_logged(" succeeded in ")
        assert worker.stop() == 0
    [run] = runs(folder)
    assert (run["trace"], run["parent"]) == ("ab" * 16, "cd" * 8)


def heard_by_celery(folder: Path, broker: str, queue: str) -> str:
    """Return the top-level headers of the next message, as Celery's request gets them as attributes."""
    program = (
        "import kombu, json\n"
        f"with kombu.Connection({broker!r}) as c:\n"
        f"    m = c.SimpleQueue({queue!r}).get(timeout=30); m.ack(); print(json.dumps(dict(m.headers)))"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=60, check=True)
    return str(done.stdout)


OWN = """
    from opentelemetry import trace

    @app.hooks.connect("worker_process_init")
    def provide(hostname):
        from file_exporter import Files
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        provider = TracerProvider(resource=Resource.create({"service.name": "of its own"}))
        provider.add_span_processor(BatchSpanProcessor(Files()))
        trace.set_tracer_provider(provider)
"""


def test_the_provider_of_the_application_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    with running_worker(folder, "-c", "1", app=TASKS + OWN) as worker:
        send(folder, "from proj import add; add.delay(1, 2)")
        worker.until_logged(" succeeded in ")
        assert worker.stop() == 0
    assert [(span["name"], span["service"]) for span in exported(folder)] == [("run/proj.add", "of its own")]


def test_a_worker_without_an_exporter_runs_its_tasks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    with running_worker(folder, "-c", "1") as worker:
        send(folder, "from proj import add; add.delay(1, 2)")
        worker.until_logged(" succeeded in ")
        assert worker.stop() == 0
    assert exported(folder) == []
