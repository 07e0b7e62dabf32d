"""The steps: `Runner` and `Requests` in the worker, `Tasks` in the consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from bootsteps import (
    HUB,
    POOL,
    REQUESTS,
    RUNNER,
    TIMER,
    ConsumerView,
    Demand,
    KernelError,
    Runner,
    Setting,
    Settings,
    Step,
    WorkerView,
)
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_tasks.handover import HandOver
from bootsteps_consumer_tasks.keys import QOS, SETTLEMENT, STRATEGIES, TASK_CONSUMER
from bootsteps_consumer_tasks.ledger import Ledger
from bootsteps_consumer_tasks.limits import SOFT_TIME_LIMIT, TIME_LIMIT, Limits, check_tasks, demanded
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
            what = f"{worker.app!r} is no application with tasks"
            raise KernelError(what, (), "name one: kernel worker -A MODULE:APP")
        return partial(TaskRunner, worker.app)


class Requests(Step):
    """Keeps the ledger of requests and settles what comes out of the pool. Outlives every connection."""

    provides = (REQUESTS, SETTLEMENT)
    requires = (POOL,)
    settings = (LOST_LIMIT,)

    def create(self, worker: WorkerView) -> Ledger:
        ledger = Ledger(worker.get(POOL).running)
        worker.lend(REQUESTS, ledger)  # already here: others read it in their `create`
        return ledger

    def start(self, worker: WorkerView) -> None:
        settlement = Settlement(worker.app, self.obj, worker.hooks, worker.setting(LOST_LIMIT))
        worker.lend(REQUESTS, self.obj)
        worker.lend(SETTLEMENT, settlement)
        check_tasks(worker.app.tasks, worker.get(POOL).capabilities)
        worker.get(POOL).connect(settlement.on_outcomes)

    def idle(self, worker: WorkerView) -> bool:
        return not self.obj.active()

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"total": dict(self.obj.total)}


class Tasks(Step):
    """Consumes task messages: intake, prefetch, and the hand-over to the pool, once for each turn of the loop."""

    provides = (TASK_CONSUMER, QOS, STRATEGIES)
    requires = (CONNECTION, POOL, REQUESTS, SETTLEMENT, TIMER, HUB)
    settings = (QUEUES, PREFETCH, TIME_LIMIT, SOFT_TIME_LIMIT)

    @classmethod
    def demands(cls, settings: Settings) -> Iterable[Demand]:
        """Limits for all tasks: an error at boot if the pool cannot keep them."""
        return demanded(settings)

    def start(self, consumer: ConsumerView) -> None:
        from bootsteps_consumer_tasks.prefetch import Prefetch

        app, pool, ledger = consumer.app, consumer.get(POOL), _ledger(consumer)
        settlement, timer = consumer.get(SETTLEMENT), consumer.get(TIMER)
        limits = Limits(consumer.setting(TIME_LIMIT), consumer.setting(SOFT_TIME_LIMIT))
        intake = Intake(app, consumer.hostname, ledger, settlement, timer, consumer.hooks, limits)
        consumer.on_stop(intake.hang_up)
        queues = app.queues(consumer.setting(QUEUES))
        task_consumer = consumer.get(CONNECTION).Consumer(queues, on_message=intake.on_message)
        qos = Prefetch(task_consumer.qos, pool.concurrency * consumer.setting(PREFETCH))
        consumer.lend(STRATEGIES, intake.strategies)
        consumer.lend(TASK_CONSUMER, task_consumer)
        consumer.lend(QOS, qos)
        self._intake, self._handover = intake, HandOver(ledger, pool, qos)
        hub = consumer.get(HUB)
        hub.on_tick.add(self._handover)
        consumer.on_stop(lambda: hub.on_tick.discard(self._handover))
        task_consumer.consume()
        self._names = [queue.name for queue in queues]
        consumer.log.info("consuming from %s", ", ".join(self._names))

    def close(self, consumer: ConsumerView) -> None:
        """Take no more messages, and give back those that the pool does not have."""
        consumer.get(HUB).on_tick.discard(self._handover)
        consumer.get(TASK_CONSUMER).cancel()
        given_back, running = self._intake.close(), _ledger(consumer).active()
        consumer.log.info("given back before their start: %d; still running: %d", given_back, running)

    def terminate(self, consumer: ConsumerView) -> None:
        """Give back everything that can be run again."""
        consumer.log.warning("given back: %d", self._intake.interrupt())

    def info(self, consumer: ConsumerView) -> dict[str, Any]:
        return {"prefetch_count": consumer.get(QOS).value, "queues": self._names}


def _ledger(consumer: ConsumerView) -> Ledger:
    ledger = consumer.get(REQUESTS)
    assert isinstance(ledger, Ledger), "the step Requests of this distribution lends it"
    return ledger
