"""The consumer step `Revocations`: revokes that were made while no worker was up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from bootsteps import TIMER, ConsumerView, Step
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_tasks import REVOKED
from bootsteps_tasks.control import REVOKED_TTL_S, broadcast, revoked_queue

__all__ = ["Revocations"]

#: Seconds between two looks; between them the workers that are up hear of a revoke by its broadcast.
LOOK_EVERY_S = 30.0


class Revocations(Step):
    """Reads the revokes that wait in the broker before any task is taken, and clears them away from then on."""

    requires = (CONNECTION, REVOKED, TIMER)
    before = ("Tasks",)

    def start(self, consumer: ConsumerView) -> None:
        channel = consumer.get(CONNECTION).channel()
        queue = revoked_queue(consumer.app)(channel)
        queue.queue_declare()
        found = self._learn(consumer, queue)
        if found:  # another worker may have started in this very moment, without them
            consumer.log.info("%d tasks were revoked while no worker was up", len(found))
            broadcast(consumer.app, "revoke", {"task_id": found})
        tick = consumer.get(TIMER).call_repeatedly(LOOK_EVERY_S, self._learn, (consumer, queue))
        consumer.on_stop(tick.cancel)

    def _learn(self, consumer: ConsumerView, queue: Any) -> list[str]:
        revoked = consumer.get(REVOKED)
        found: list[str] = []
        for message in iter(lambda: queue.get(no_ack=True), None):
            try:
                for task_id, age_s in _read(message):
                    if age_s < REVOKED_TTL_S and task_id not in revoked:
                        revoked.add(task_id, age_s)
                        found.append(task_id)
            except Exception as exc:
                consumer.log.error("a revoke that waited in the broker cannot be read: %s", exc)
        return found


def _read(message: Any) -> Iterator[tuple[str, float]]:
    """Yield the ids and how long ago, in seconds, they were revoked. Raises for what is no such message."""
    body = message.decode()
    age_s = max(0.0, time.time() - float(body["at"]))
    for task_id in body["ids"]:
        if not isinstance(task_id, str):
            raise TypeError(f"{task_id!r} is no task id")
        yield task_id, age_s
