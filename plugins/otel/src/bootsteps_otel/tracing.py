"""Makes the spans: `apply_async/NAME` where a task is published, `run/NAME` where it is executed."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from bootsteps import hookimpl
from bootsteps_otel.attributes import of_message, of_run
from bootsteps_otel.provider import flush, set_up, warm_up

__all__ = ["Silent", "Tracing"]

#: Spans of messages whose publication failed are never told of again: so many are kept at most.
OPEN_MOST = 10_000


class Tracing:
    """Hears of messages and runs, in whichever process they happen. OpenTelemetry is imported with the first."""

    def __init__(self) -> None:
        self._tracer: Any = None
        #: Of messages that are being published, by task id.
        self._published: OrderedDict[str, Any] = OrderedDict()
        #: Of runs, by task id: the span, and what undoes its being the current one.
        self._running: dict[str, tuple[Any, Any]] = {}

    def _made(self, service: str) -> Any:
        if self._tracer is None:
            set_up(service)
            from opentelemetry import trace

            self._tracer = trace.get_tracer("bootsteps_otel")
        return self._tracer

    @hookimpl
    def worker_before_create_process(self) -> None:
        """Import here what each child would import anew; the threads of a provider are made in the child."""
        warm_up()

    @hookimpl
    def worker_process_init(self, hostname: str, app: Any) -> None:
        self._published.clear()  # of the process that this one was forked from
        self._running.clear()
        self._made(app.main or hostname)

    @hookimpl
    def worker_process_shutdown(self) -> None:
        flush()

    @hookimpl
    def before_task_publish(self, name: str, id: str, headers: dict[str, Any], exchange: str, routing_key: str) -> None:
        tracer = self._made(name.partition(".")[0])
        from opentelemetry import propagate, trace

        facts = of_message(name, id, exchange, routing_key)
        span = tracer.start_span(f"apply_async/{name}", kind=trace.SpanKind.PRODUCER, attributes=facts)
        propagate.inject(headers, context=trace.set_span_in_context(span))
        self._published[id] = span
        while len(self._published) > OPEN_MOST:
            self._published.popitem(last=False)[1].end()

    @hookimpl
    def after_task_publish(self, id: str) -> None:
        span = self._published.pop(id, None)
        if span is not None:
            span.end()

    @hookimpl
    def task_prerun(self, task: Any, id: str) -> None:
        tracer = self._made(task.name.partition(".")[0])
        from opentelemetry import context, propagate, trace

        headers: Mapping[str, Any] = task.request.headers or {}
        carrier = {key: value for key, value in headers.items() if isinstance(value, str)}
        caller = propagate.extract(carrier)
        span = tracer.start_span(f"run/{task.name}", context=caller, kind=trace.SpanKind.CONSUMER)
        self._running[id] = span, context.attach(trace.set_span_in_context(span, caller))

    @hookimpl
    def task_failure(self, task: Any, id: str, exception: BaseException, traceback: str) -> None:
        span, _ = self._running.get(id, (None, None))
        if span is None or isinstance(exception, tuple(getattr(task, "throws", None) or ())):
            return
        from opentelemetry.trace import Status, StatusCode

        span.record_exception(exception, attributes={"exception.stacktrace": traceback})
        span.set_status(Status(StatusCode.ERROR, str(exception)))

    @hookimpl
    def task_retry(self, id: str, reason: BaseException) -> None:
        span, _ = self._running.get(id, (None, None))
        if span is not None:
            span.set_attribute("celery.retry.reason", str(reason))

    @hookimpl
    def task_postrun(self, task: Any, id: str, state: str | None) -> None:
        span, token = self._running.pop(id, (None, None))
        if span is None:
            return
        from opentelemetry import context

        if span.is_recording():
            span.set_attributes(of_run(task.name, task.request, state))
        span.end()
        context.detach(token)


class Silent:
    """Hears of nothing, so that nobody pays."""


def __getattr__(name: str) -> object:
    """Return what the entry point names, `TRACING`: decided when it is loaded, which is after the application."""
    if name != "TRACING":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Tracing() if "OTEL_TRACES_EXPORTER" in os.environ or "opentelemetry.trace" in sys.modules else Silent()
