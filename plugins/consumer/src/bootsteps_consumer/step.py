"""The worker step that runs the Consumer blueprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bootsteps import HUB, POOL, TIMER, Step, WorkerView
from bootsteps_consumer.heartbeat import HEARTBEAT, RATE, heartbeat_of
from bootsteps_consumer.keys import CONSUMER
from bootsteps_consumer.settings import RETRY, RETRY_AT_START, RETRY_MAX

if TYPE_CHECKING:
    from bootsteps_consumer.consumer import Consumer

__all__ = ["ConsumerHost"]


class ConsumerHost(Step):
    """Starts last, and turns the loop."""

    name = "Consumer"
    provides = (CONSUMER,)
    requires = (HUB, TIMER)
    wants = (POOL,)
    settings = (RETRY, RETRY_AT_START, RETRY_MAX, HEARTBEAT, RATE)
    runs = "consumer"
    last = True

    def create(self, worker: WorkerView) -> Consumer:
        from bootsteps_consumer.consumer import Consumer

        retry, first, most = worker.setting(RETRY), worker.setting(RETRY_AT_START), worker.setting(RETRY_MAX)
        limits = most if retry else 0, most if (retry if first is None else first) else 0
        consumer = Consumer(worker.blueprint.parent, worker.get(HUB), worker.get(TIMER), *limits)
        consumer.amqheartbeat, consumer.amqheartbeat_rate = heartbeat_of(worker), worker.setting(RATE)
        worker.blueprint.nested("Consumer", consumer).apply()
        return consumer

    def start(self, worker: WorkerView) -> None:
        self.obj.start()

    def run(self, worker: WorkerView, until: Callable[[], bool]) -> None:
        self.obj.run(until)

    def close(self, worker: WorkerView) -> None:
        self.obj.blueprint.close()

    def idle(self, worker: WorkerView) -> bool:
        return bool(self.obj.blueprint.idle())

    def stop(self, worker: WorkerView) -> None:
        self.obj.blueprint.stop()

    def terminate(self, worker: WorkerView) -> None:
        self.obj.blueprint.stop(terminate=True)

    def shutdown(self, worker: WorkerView) -> None:
        self.obj.blueprint.shutdown()

    def info(self, worker: WorkerView) -> dict[str, object]:
        return dict(self.obj.blueprint.info())
