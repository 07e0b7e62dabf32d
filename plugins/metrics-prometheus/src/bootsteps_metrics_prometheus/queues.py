"""The consumer step `QueueLengths`: how many messages wait, asked when somebody scrapes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bootsteps import HUB, ConsumerView, Step
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_tasks import TASK_QUEUES
from bootsteps_metrics_prometheus.keys import ADDRESS, METRICS

__all__ = ["QueueLengths"]

#: Seconds that a scrape waits for the loop, and for which an answer is good.
WAIT_S, GOOD_S = 1.0, 1.0


class QueueLengths(Step):
    """Asks the broker on a channel of its own, in the loop, at most once a second, and only when scraped."""

    requires = (CONNECTION, TASK_QUEUES, HUB)
    wants = (METRICS,)
    settings = (ADDRESS,)

    def include_if(self, consumer: ConsumerView) -> bool:
        return consumer.setting(ADDRESS) is not None

    def start(self, consumer: ConsumerView) -> None:
        sources, queues = consumer.get(METRICS), consumer.get(TASK_QUEUES)
        sources.queues = {queue.routing_key: queue.name for queue in queues} | {q.name: q.name for q in queues}
        lengths = Lengths(consumer.get(CONNECTION), queues, consumer.get(HUB).call_soon)
        sources.lengths = lengths.get

        def gone() -> None:
            sources.lengths = dict
            lengths.close()

        consumer.on_stop(gone)


class Lengths:
    """The lengths of the queues as they were a moment ago."""

    def __init__(self, connection: Any, queues: Iterable[Any], call_soon: Callable[..., Any]) -> None:
        self._connection, self._queues, self._call_soon = connection, queues, call_soon
        self._known: Mapping[str, int] = {}
        self._asked = 0.0
        self._channel: Any = None

    def get(self) -> Mapping[str, int]:
        """Return them by queue name; any thread. While the loop is busy, the last ones."""
        if time.monotonic() - self._asked > GOOD_S:
            answered = threading.Event()

            def ask() -> None:
                try:
                    self._ask()
                finally:
                    answered.set()

            self._call_soon(ask)
            answered.wait(WAIT_S)
        return self._known

    def _ask(self) -> None:
        self._asked = time.monotonic()
        if self._connection is None:
            return
        if self._channel is None:
            self._channel = self._connection.channel()
        found: dict[str, int] = {}
        for queue in self._queues:
            try:
                told = self._channel.queue_declare(queue=queue.name, passive=True)
            except Exception:  # it is not there: nothing waits; where such a question closes a channel, have a new one
                self._channel = None
                break
            found[queue.name] = int(told.message_count)
        self._known = found

    def close(self) -> None:
        """Ask no more: the connection is going."""
        self._connection = self._channel = None
        self._known = {}
