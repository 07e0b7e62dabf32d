"""Turns what was counted into what Prometheus reads, at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from bootsteps_metrics_prometheus.tally import Tally

__all__ = ["WorkerCollector"]

LABELS = ["name", "hostname", "queue_name"]
#: What celery-exporter counts of each task, with its words.
COUNTED = {
    "sent": "Task messages that this worker and its process published.",
    "received": "Tasks that the worker received.",
    "started": "Tasks that a pool child began.",
    "succeeded": "Tasks that returned.",
    "rejected": "Tasks that were rejected, and messages that were refused.",
    "revoked": "Tasks that were revoked, terminated or expired.",
    "retried": "Tasks that are to be tried again.",
}


class WorkerCollector(Collector):
    """Yields the metric families of one worker."""

    def __init__(
        self,
        tally: Tally,
        hostname: str,
        queue_of: Callable[[str], str],
        active: Callable[[], int],
        lengths: Callable[[], Mapping[str, int]],
        processes: Callable[[], int],
    ) -> None:
        """`queue_of` tells the queue by a routing key; the others are asked at each scrape, by any thread."""
        self._tally, self._hostname, self._queue_of = tally, hostname, queue_of
        self._active, self._lengths, self._processes = active, lengths, processes

    def collect(self) -> Iterator[Any]:
        found: list[Any] = []
        self._tally.read(lambda tally: found.extend(self._of_tasks(tally)))
        yield from found
        yield _gauge("celery_worker_up", "This worker answers.", {self._hostname: 1})
        yield _gauge("celery_worker_tasks_active", "Tasks that run now.", {self._hostname: self._active()})
        lengths = dict(self._lengths())
        yield _gauge("celery_queue_length", "Messages that wait in the broker.", lengths, "queue_name")
        workers = dict.fromkeys(lengths, 1)
        yield _gauge("celery_active_worker_count", "This worker, for each queue.", workers, "queue_name")
        processes = dict.fromkeys(lengths, self._processes())
        yield _gauge("celery_active_process_count", "Its tasks at one time, for each queue.", processes, "queue_name")

    def _of_tasks(self, tally: Tally) -> Iterator[Any]:
        for what, text in COUNTED.items():
            family = CounterMetricFamily(f"celery_task_{what}", text, labels=LABELS)
            for labels, count in self._by_queue(tally.counts.get(what, {})).items():
                family.add_metric(labels, count)
            yield family
        failed = CounterMetricFamily("celery_task_failed", "Tasks that failed.", labels=[*LABELS, "exception"])
        sums: Counter[tuple[str, str, str]] = Counter()
        for (name, key, exception), count in tally.failed.items():
            sums[name, self._queue_of(key), exception] += count
        for (name, queue, exception), count in sorted(sums.items()):
            failed.add_metric([name, self._hostname, queue, exception], count)
        yield failed
        yield self._runtimes(tally)

    def _by_queue(self, counts: Mapping[tuple[str, str], float]) -> dict[tuple[str, str, str], float]:
        """Add up what came to one queue by different keys."""
        found: dict[tuple[str, str, str], float] = {}
        for (name, key), count in sorted(counts.items()):
            labels = (name, self._hostname, self._queue_of(key))
            found[labels] = found.get(labels, 0) + count
        return found

    def _runtimes(self, tally: Tally) -> Any:
        family = HistogramMetricFamily("celery_task_runtime", "Seconds that tasks ran that succeeded.", labels=LABELS)
        bounds = [*map(str, map(float, tally.bounds)), "+Inf"]
        seconds = self._by_queue(tally.seconds)
        columns = [
            self._by_queue({task: counts[place] for task, counts in tally.buckets.items()})
            for place in range(len(bounds))
        ]
        for labels, total in seconds.items():
            counts = accumulate(column[labels] for column in columns)
            family.add_metric(labels, list(zip(bounds, counts, strict=True)), total)
        return family


def _gauge(name: str, text: str, values: Mapping[str, float], label: str = "hostname") -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for of, value in sorted(values.items()):
        family.add_metric([of], value)
    return family
