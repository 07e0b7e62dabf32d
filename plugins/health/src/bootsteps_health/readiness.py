"""The consumer step `Readiness`."""

from __future__ import annotations

from collections.abc import Sequence

from bootsteps import ConsumerView, Step
from bootsteps_consumer_tasks import TASK_CONSUMER, TASK_QUEUES
from bootsteps_health.keys import HEALTH

__all__ = ["Readiness"]


class Readiness(Step):
    """Knows, as long as there is a connection, of which queues the worker does not consume."""

    requires = (HEALTH, TASK_CONSUMER, TASK_QUEUES)

    def start(self, consumer: ConsumerView) -> None:
        state, tasks, queues = consumer.get(HEALTH), consumer.get(TASK_CONSUMER), consumer.get(TASK_QUEUES)

        def missing() -> Sequence[str]:
            without = [queue.name for queue in queues if not tasks.consuming_from(queue.name)]
            return [f"not consuming from {', '.join(without)}"] if without else []

        def gone() -> None:
            state.missing = None
            state.look()

        state.missing = missing
        consumer.on_stop(gone)
