"""Spans of messages and runs in one process; across real processes in tests/test_traces.py."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bootsteps import hooks
from bootsteps_otel import provider
from bootsteps_otel.tracing import OPEN_MOST, Tracing


class World:
    """A listener whose spans are kept, and what announces to it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing()
        self.tracing._tracer = self.provider.get_tracer("test")  # and not the process's, which can be set only once
        self.hooks = hooks.Hooks()
        self.hooks.register(self.tracing, "tracing")

    def publish(self, id: str, headers: dict[str, Any], done: bool = True) -> None:
        where = {"exchange": "", "routing_key": "mail"}
        self.hooks.announce("before_task_publish", name="proj.add", id=id, headers=headers, properties={}, **where)
        if done:
            self.hooks.announce("after_task_publish", name="proj.add", id=id, headers=headers, **where)

    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def world() -> World:
    return World()


def task(id: str, headers: dict[str, Any], **more: Any) -> Any:
    told = {"delivery_info": {"exchange": "", "routing_key": "mail"}, "timelimit": (10, None), "retries": 2}
    told |= {"correlation_id": id, "hostname": "w@h", "eta": None, "expires": None, "reply_to": None, "origin": None}
    return SimpleNamespace(name="proj.add", request=SimpleNamespace(id=id, headers=headers, **told), throws=(), **more)


def test_a_run_is_the_child_of_its_message(world):
    headers: dict[str, Any] = {"id": "1"}
    world.publish("1", headers)
    ran = task("1", headers)
    world.hooks.announce("task_prerun", task=ran, id="1", args=(), kwargs={})
    inside = trace.get_current_span().get_span_context().span_id
    world.hooks.announce("task_postrun", task=ran, id="1", args=(), kwargs={}, retval=3, state="SUCCESS")
    spans = world.spans()
    sent, run = spans["apply_async/proj.add"], spans["run/proj.add"]
    assert run.parent.span_id == sent.context.span_id
    assert inside == run.context.span_id
    assert not trace.get_current_span().get_span_context().is_valid  # and afterwards no longer
    assert (sent.kind, run.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert dict(sent.attributes) == {
        "celery.action": "apply_async", "celery.task_name": "proj.add", "messaging.message.id": "1",
        "messaging.destination": "mail",
    }  # fmt: skip
    assert dict(run.attributes) == {
        "celery.action": "run", "celery.task_name": "proj.add", "messaging.message.id": "1", "celery.state": "SUCCESS",
        "messaging.conversation_id": "1", "celery.hostname": "w@h", "celery.retries": 2,
        "celery.delivery_info": "{'exchange': '', 'routing_key': 'mail'}", "messaging.destination": "mail",
        "celery.timelimit": ("10", ""),
    }  # fmt: skip


def run(world: World, ran: Any, state: str, *further: tuple[str, dict[str, Any]]) -> Any:
    world.hooks.announce("task_prerun", task=ran, id="1", args=(), kwargs={})
    for hook, facts in further:
        world.hooks.announce(hook, task=ran, id="1", **facts)
    world.hooks.announce("task_postrun", task=ran, id="1", args=(), kwargs={}, retval=None, state=state)
    return world.spans()["run/proj.add"]


def test_a_failure_is_recorded(world):
    facts = {"exception": ValueError("no"), "args": (), "kwargs": {}, "traceback": "Traceback ..."}
    span = run(world, task("1", {}), "FAILURE", ("task_failure", facts))
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "no")
    [event] = span.events
    assert (event.attributes["exception.type"], event.attributes["exception.stacktrace"]) == (
        "ValueError", "Traceback ...",
    )  # fmt: skip


def test_a_failure_that_is_known_to_come_is_none(world):
    ran = task("1", {})
    ran.throws = (LookupError,)
    facts = {"exception": KeyError("no"), "args": (), "kwargs": {}, "traceback": ""}
    span = run(world, ran, "FAILURE", ("task_failure", facts))
    assert span.status.status_code is trace.StatusCode.UNSET
    assert not span.events


def test_why_it_is_tried_again(world):
    facts = {"request": None, "reason": OSError("later"), "traceback": ""}
    assert run(world, task("1", {}), "RETRY", ("task_retry", facts)).attributes["celery.retry.reason"] == "later"


def test_messages_whose_publication_fails_are_not_kept_for_ever(world):
    for number in range(OPEN_MOST + 5):
        world.publish(str(number), {}, done=False)
    assert len(world.tracing._published) == OPEN_MOST
    assert len(world.exporter.get_finished_spans()) == 5


def test_headers_of_no_use_harm_nobody(world):
    ran = task("1", {"traceparent": "nonsense", "tracestate": 7, "other": None})
    assert run(world, ran, "SUCCESS").parent is None
    assert run(world, task("1", {}), "SUCCESS").parent is None


@pytest.mark.parametrize(("names", "disabled"), [("", ""), ("none", ""), ("console", "true")])
def test_nothing_is_made_unless_it_is_wanted(monkeypatch, names, disabled):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", names)
    monkeypatch.setenv("OTEL_SDK_DISABLED", disabled)
    before = trace.get_tracer_provider()
    provider.set_up("proj")
    assert trace.get_tracer_provider() is before
    provider.flush()


def test_an_exporter_that_is_not_installed_is_named(monkeypatch, caplog):
    made: list[Any] = []
    monkeypatch.setattr(trace, "set_tracer_provider", made.append)  # a process has but one
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "no-such,console")
    provider.set_up("proj")
    assert (
        "OTEL_TRACES_EXPORTER names no-such, which is not installed; try: opentelemetry-exporter-no-such" in caplog.text
    )
    [found] = made
    assert found.resource.attributes["service.name"] == "proj"
    found.shutdown()


LOADS = """
import sys
from bootsteps import scan
{before}
found = [plugin for plugin in scan() if plugin.dist == "bootsteps-otel"]
print(type(found[0].load()).__name__, "opentelemetry" in sys.modules)
"""


@pytest.mark.parametrize(
    ("before", "variable", "told"),
    [
        ("", None, "Silent False"),
        ("", "none", "Tracing False"),
        ("import opentelemetry.trace", None, "Tracing True"),
    ],
)
def test_nobody_pays_where_nobody_traces(monkeypatch, before, variable, told):
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    if variable is not None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", variable)
    done = subprocess.run(
        [sys.executable, "-c", LOADS.format(before=before)], text=True, capture_output=True, timeout=60
    )
    assert done.stdout.strip() == told, done.stderr
