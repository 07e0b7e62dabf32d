"""The worker step `Metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootsteps import POOL, REQUESTS, RunningRequest, Setting, SettingError, Step, WorkerView, hookimpl
from bootsteps_metrics_prometheus.keys import ADDRESS, METRICS, Sources
from bootsteps_metrics_prometheus.tally import Tally, exception_in

__all__ = ["Metrics"]

#: As prometheus_client's, and so celery-exporter's.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
STATES = {"SUCCESS": "succeeded", "RETRY": "retried", "REJECTED": "rejected"}


def _bounds(value: Any) -> tuple[float, ...]:
    words = [word for word in value.split(",") if word.strip()] if isinstance(value, str) else list(value)
    found = tuple(float(word) for word in words)
    if not found or list(found) != sorted(set(found)):
        raise ValueError("numbers of seconds are wanted, each greater than the one before")
    return found


RUNTIMES = Setting[Any](
    "worker_metrics_buckets", _bounds, BUCKETS, unit="s", flags=(), help="the buckets of celery_task_runtime"
)


class Metrics(Step):
    """Counts in the worker's main process, so that nothing is lost with a child. Left out without an address."""

    provides = (METRICS,)
    requires = (REQUESTS,)
    wants = (POOL,)
    settings = (ADDRESS, RUNTIMES)
    _tally: Tally

    def include_if(self, worker: WorkerView) -> bool:
        return worker.setting(ADDRESS) is not None

    def start(self, worker: WorkerView) -> None:
        from bootsteps_metrics_prometheus.collector import WorkerCollector
        from bootsteps_metrics_prometheus.server import serve

        self._tally, sources = Tally(worker.setting(RUNTIMES)), Sources()
        requests, pool = worker.get(REQUESTS), worker.get(POOL, None)
        collector = WorkerCollector(
            self._tally,
            worker.hostname,
            sources.queue_of,
            lambda: len(requests.running()),
            lambda: sources.lengths(),
            lambda: 1 if pool is None else pool.concurrency,
        )
        place = str(worker.setting(ADDRESS))
        host, _, port = place.rpartition(":")
        try:
            found, stop = serve(host.strip("[]"), int(port), collector)
        except OSError as exc:
            what = f"metrics cannot be told on {place}: {exc.strerror or exc}"
            raise SettingError(what, ("setting worker_metrics_address",), "choose another address") from exc
        worker.on_stop(stop)
        hooks = worker.app.hooks  # publishing is the application's
        hooks.connect("after_task_publish")(self._sent)
        worker.on_stop(lambda: hooks.disconnect("after_task_publish", self._sent))
        worker.lend(METRICS, sources)
        worker.log.info("metrics are told on http://%s:%d/metrics", host, found)

    def _sent(self, name: str, routing_key: str) -> None:
        self._tally.count("sent", name, routing_key)

    @hookimpl
    def task_received(self, name: str, request: Any) -> None:
        self._tally.count("received", name, request.routing_key)

    @hookimpl
    def task_started(self, request: RunningRequest, routing_key: str) -> None:
        self._tally.count("started", request.name, routing_key)

    @hookimpl
    def task_settled(self, request: RunningRequest, state: str, runtime_s: float, text: str, routing_key: str) -> None:
        name = request.name
        if state == "FAILURE":
            self._tally.fail(name, routing_key, exception_in(text))
        elif state in STATES:
            self._tally.count(STATES[state], name, routing_key)
        if state == "SUCCESS":
            self._tally.ran(name, routing_key, runtime_s)

    @hookimpl
    def task_revoked(self, request: Any) -> None:
        self._tally.count("revoked", request.name, request.routing_key)

    @hookimpl
    def task_rejected(self, message: Any) -> None:
        headers: Mapping[str, Any] = getattr(message, "headers", None) or {}
        info: Mapping[str, Any] = getattr(message, "delivery_info", None) or {}
        self._tally.count("rejected", str(headers.get("task") or "unknown"), str(info.get("routing_key") or ""))
