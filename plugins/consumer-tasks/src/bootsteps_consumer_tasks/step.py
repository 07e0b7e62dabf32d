"""The steps: `Runner` and `Requests` in the worker, `Tasks` in the consumer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bootsteps import (
    HUB,
    POOL,
    REQUESTS,
    RUNNER,
    TIMER,
    ConsumerView,
    KernelError,
    Pool,
    Runner,
    Setting,
    Step,
    WorkerView,
)
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_tasks.keys import QOS, SETTLEMENT, STRATEGIES, TASK_CONSUMER
from bootsteps_consumer_tasks.ledger import Ledger
from bootsteps_consumer_tasks.settlement import Settlement
from bootsteps_consumer_tasks.strategy import Intake
from bootsteps_tasks import App

__all__ = ["Requests", "RunnerStep", "Tasks"]

QUEUES = Setting[tuple[str, ...]](
    "worker_queues", tuple, (), flags=("-Q", "--queues"), help="consume from these queues; default: all of task_queues"
)
PREFETCH = Setting[int](
    "worker_prefetch_multiplier",
    int,
    4,
    flags=("--prefetch-multiplier",),
    help="messages to reserve for each running task",
)
LOST_LIMIT = Setting[int](
    "worker_lost_limit", int, 3, flags=(), help="how often a late-acknowledged task whose child died is tried again"
)


class RunnerStep(Step):
    """Says what a pool child does with a job: run a task of the application."""

    provides = (RUNNER,)

    def create(self, worker: WorkerView) -> Callable[[], Runner]:
        from bootsteps_consumer_tasks.runner import TaskRunner

        if not isinstance(worker.app, App):
            what = f"{worker.app!r} has no tasks"
            raise KernelError(what, ("Runner (bootsteps-consumer-tasks)",), "name one: kernel worker -A MODULE:APP")
        return partial(TaskRunner, worker.app)


class Requests(Step):
    """Keeps the ledger of requests and settles what comes out of the pool. Outlives every connection."""

    provides = (REQUESTS, SETTLEMENT)
    requires = (POOL,)
    settings = (LOST_LIMIT,)

    def create(self, worker: WorkerView) -> Ledger:
        return Ledger(worker.get(POOL).running)

    def start(self, worker: WorkerView) -> None:
        settlement = Settlement(worker.app, self.obj, worker.hooks, worker.setting(LOST_LIMIT))
        worker.lend(REQUESTS, self.obj)
        worker.lend(SETTLEMENT, settlement)
        worker.get(POOL).connect(settlement.on_outcomes)

    def idle(self, worker: WorkerView) -> bool:
        return not self.obj.active()

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"total": dict(self.obj.total)}


class Tasks(Step):
    """Consumes task messages: intake, prefetch, and the hand-over to the pool, once for each turn of the loop."""

    provides = (TASK_CONSUMER, QOS, STRATEGIES)
    requires = (CONNECTION, POOL, REQUESTS, SETTLEMENT, TIMER, HUB)
    settings = (QUEUES, PREFETCH)

    def start(self, consumer: ConsumerView) -> None:
        from kombu.common import QoS

        app, pool, hub = consumer.app, consumer.get(POOL), consumer.get(HUB)
        self._ledger = ledger = _ledger(consumer)
        settlement, timer = consumer.get(SETTLEMENT), consumer.get(TIMER)
        self._intake = Intake(app, consumer.hostname, ledger, settlement, timer, consumer.hooks)
        consumer.on_stop(partial(self._hang_up, ledger))
        queues = app.queues(consumer.setting(QUEUES))
        task_consumer = consumer.get(CONNECTION).Consumer(queues, on_message=self._intake.on_message)
        qos = QoS(task_consumer.qos, pool.concurrency * consumer.setting(PREFETCH))
        consumer.lend(STRATEGIES, self._intake.strategies)
        consumer.lend(TASK_CONSUMER, task_consumer)
        consumer.lend(QOS, qos)
        turn = partial(_turn, ledger, pool, qos)
        hub.on_tick.add(turn)
        consumer.on_stop(lambda: hub.on_tick.discard(turn))
        qos.update()
        task_consumer.consume()
        self._names = [queue.name for queue in queues]
        consumer.log.info("consuming from %s", ", ".join(self._names))

    def close(self, consumer: ConsumerView) -> None:
        """Take no more messages, and give back those that the pool does not have."""
        consumer.get(TASK_CONSUMER).cancel()
        returned = self._ledger.unstarted()
        for request in reversed(returned):
            request.delivery.requeue()
        consumer.log.info(
            "gave back %d tasks that were not started; %d are running", len(returned), self._ledger.active()
        )

    def terminate(self, consumer: ConsumerView) -> None:
        """Give back everything that can be run again."""
        unsettled = [request for request in self._ledger.unsettled() if request.delivery.requeue()]
        consumer.log.warning("gave back %d tasks", len(unsettled))

    def _hang_up(self, ledger: Ledger) -> None:
        self._intake.line.up = False
        ledger.lose(self._intake.line)

    def info(self, consumer: ConsumerView) -> dict[str, Any]:
        return {"prefetch_count": consumer.get(QOS).value, "queues": self._names}


def _ledger(consumer: ConsumerView) -> Ledger:
    ledger = consumer.get(REQUESTS)
    assert isinstance(ledger, Ledger), "the step Requests of this distribution lends it"
    return ledger


def _turn(ledger: Ledger, pool: Pool, qos: Any) -> None:
    """Hand on what the pool takes now; tell the broker if the prefetch limit was changed."""
    if qos.prev != qos.value:
        qos.update()
    taken = ledger.take(pool.free())
    if not taken:
        return
    for request in taken:
        if not request.acks_late:
            request.delivery.ack()
    pool.submit([request.job() for request in taken])
