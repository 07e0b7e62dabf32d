"""Where the spans go: the application's own provider, or one that is made as OpenTelemetry's environment says."""

from __future__ import annotations

import importlib
import logging
import os
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

__all__ = ["flush", "set_up", "warm_up"]

log = logging.getLogger("bootsteps.otel")

#: OpenTelemetry's group of exporters by name: `otlp` comes with opentelemetry-exporter-otlp.
GROUP = "opentelemetry_traces_exporter"
#: The end of a pool child waits so long for its spans to be out, milliseconds.
FLUSH_MS = 10_000


def set_up(service: str) -> None:
    """Make a provider if OTEL_TRACES_EXPORTER names exporters and the application has made none.

    `service` names the service where OTEL_SERVICE_NAME does not. What cannot be made is logged: traces must not stop
    the work.
    """
    names = _wanted()
    if not names:
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(named))
    for name in names:
        try:
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
        except Exception as exc:
            log.warning("no traces by the exporter %r: %s", name, exc)
    trace.set_tracer_provider(provider)


def _wanted() -> list[str]:
    """Return the names of the exporters that the environment asks for."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",")]
    return [name for name in names if name and name != "none"]


def warm_up() -> None:
    """Import what `set_up` will, without making anything."""
    if _wanted():
        for module in ("sdk.trace.export", "propagate"):
            importlib.import_module(f"opentelemetry.{module}")
        for name in _wanted():
            for found in entry_points(group=GROUP, name=name):
                with suppress(Exception):  # told where it is to be used
                    found.load()


def _exporter(name: str) -> Any:
    """Make the exporter of this name. Raises LookupError if none is installed."""
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise LookupError(
            f"OTEL_TRACES_EXPORTER names {name}, which is not installed; try: opentelemetry-exporter-{name}"
        )
    return found[0].load()()


def flush() -> None:
    """Let every span be exported now: the process ends."""
    from opentelemetry import trace

    force = getattr(trace.get_tracer_provider(), "force_flush", None)
    if force is not None and not force(FLUSH_MS):
        log.warning("some spans could not be exported within %d s", FLUSH_MS // 1000)
