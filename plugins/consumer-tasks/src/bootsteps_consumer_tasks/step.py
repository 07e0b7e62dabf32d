"""The steps: `Runner`, `Revokes` and `Requests` in the worker, `Tasks` in the consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

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
    Settings,
    Step,
    WorkerView,
    hookimpl,
)
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_tasks.keys import (
    ADD_TASK_QUEUE,
    APPLY_ETA_TASK,
    BUCKET_FOR_TASK,
    BUCKETS,
    CANCEL_TASK_QUEUE,
    GUARD,
    QOS,
    RESET_RATE_LIMITS,
    REVOKED,
    SETTLEMENT,
    SNAPSHOTS,
    STATE,
    STRATEGIES,
    TASK_BUCKETS,
    TASK_CONSUMER,
    TASK_CONTROL,
    TASK_QUEUES,
    UPDATE_STRATEGIES,
)
from bootsteps_consumer_tasks.limits import SOFT_TIME_LIMIT, TIME_LIMIT, Limits, check_tasks, demanded
from bootsteps_consumer_tasks.settings import (
    DIRECT,
    DISABLE_RATE_LIMITS,
    EXCLUDED,
    LOST_LIMIT,
    PREFETCH,
    PURGE,
    QUEUES,
    REDELIVERED_LIMIT,
    UNKNOWN_DELAYS,
)
from bootsteps_tasks.settings import ETA_HORIZON

if TYPE_CHECKING:
    from bootsteps import Hub
    from bootsteps_consumer_tasks.ledger import Ledger
    from bootsteps_consumer_tasks.queues import TaskQueues
    from bootsteps_consumer_tasks.revoked import Revoked
    from bootsteps_consumer_tasks.strategy import Intake

__all__ = ["Requests", "Revokes", "RunnerStep", "Tasks"]

#: Seconds that the broker has to say that it will send no more messages.
CANCEL_S = 3.0


class RunnerStep(Step):
    """Says what a pool child does with a job: run a task of the application."""

    provides = (RUNNER,)

    def create(self, worker: WorkerView) -> Callable[[], Runner]:
        from bootsteps_consumer_tasks.runner import TaskRunner
        from bootsteps_tasks import App
        from bootsteps_tasks.backend import make_backends

        if not isinstance(worker.app, App):
            named = worker.app.spec is not None or worker.app.main is not None
            what = f"{worker.app!r} is no application with tasks" if named else "no application is named"
            raise KernelError(what, (), "name one: kernel worker -A MODULE:APP")
        make_backends(worker.app)
        return partial(TaskRunner, worker.app, worker.hostname)


class Revokes(Step):
    """Remembers which tasks are revoked. Outlives every connection."""

    provides = (REVOKED,)

    def create(self, worker: WorkerView) -> Revoked:
        from bootsteps_consumer_tasks.revoked import Revoked

        return Revoked()

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"revoked": len(self.obj)}


class Requests(Step):
    """Keeps the ledger of requests and settles what comes out of the pool. Outlives every connection."""

    #: The step of the guide's boot log that made what holds requests between the consumer and the pool.
    aliases = ("Queues (intra)", "Queues")
    provides = (REQUESTS, SETTLEMENT, SNAPSHOTS, STATE, GUARD, BUCKETS, TASK_CONTROL, TASK_QUEUES)
    requires = (POOL, TIMER, REVOKED)
    settings = (QUEUES, EXCLUDED, DIRECT, PURGE, LOST_LIMIT, REDELIVERED_LIMIT, DISABLE_RATE_LIMITS)

    def create(self, worker: WorkerView) -> Ledger:
        from bootsteps_consumer_tasks.ledger import Ledger
        from bootsteps_consumer_tasks.root import check_root

        check_root(worker.app.conf["accept_content"], worker.app.conf.get("worker_uid"))
        ledger = Ledger(worker.get(POOL).running)
        worker.lend(REQUESTS, ledger)  # already here: others read it in their `create`
        return ledger

    def start(self, worker: WorkerView) -> None:
        from bootsteps_consumer_tasks.guard import Guard
        from bootsteps_consumer_tasks.poster import Poster
        from bootsteps_consumer_tasks.queues import TaskQueues, direct_queue
        from bootsteps_consumer_tasks.rates import Buckets
        from bootsteps_consumer_tasks.settlement import Settlement
        from bootsteps_consumer_tasks.snapshots import Snapshots
        from bootsteps_consumer_tasks.starts import Starts
        from bootsteps_consumer_tasks.state import WorkerState
        from bootsteps_consumer_tasks.taskcontrol import TaskControl

        app, ledger, pool = worker.app, self.obj, worker.get(POOL)
        poster = Poster(app.connection)
        worker.on_stop(poster.close)
        guard = Guard(
            poster, ledger, worker.hooks, worker.hostname, worker.setting(LOST_LIMIT), worker.setting(REDELIVERED_LIMIT)
        )
        starts = Starts(worker.hooks, pool.running, worker.get(TIMER))
        worker.on_stop(starts.stop)
        settlement = Settlement(app, ledger, worker.hooks, guard, pool.submit, worker.hostname, starts)
        self._buckets = buckets = Buckets(app.tasks, worker.setting(DISABLE_RATE_LIMITS))
        worker.lend(REQUESTS, ledger)
        worker.lend(SETTLEMENT, settlement)
        snapshots = Snapshots(ledger, app.conf.accept_content)
        worker.lend(SNAPSHOTS, snapshots)
        worker.lend(STATE, WorkerState(ledger, snapshots, worker.get(REVOKED)))
        worker.lend(GUARD, guard)
        worker.lend(BUCKETS, buckets)
        only, without = worker.setting(QUEUES), worker.setting(EXCLUDED)
        own = [direct_queue(worker.hostname)] if worker.setting(DIRECT) else []
        worker.lend(TASK_QUEUES, TaskQueues(app, only, without, own, worker.setting(PURGE)))
        worker.lend(TASK_CONTROL, TaskControl(app, ledger, worker.get(REVOKED), buckets, pool, worker.get(TIMER)))
        check_tasks(app.tasks, pool.capabilities)
        pool.connect(settlement.on_outcomes)

    @hookimpl
    def application_renewed(self, app: Any) -> None:
        """Its tasks may have other limits now."""
        self._buckets.reset()

    def idle(self, worker: WorkerView) -> bool:
        return not self.obj.active()

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"total": self.obj.started()}


class Tasks(Step):
    """Consumes task messages: intake, prefetch, and the hand-over to the pool, once for each turn of the loop."""

    provides = (
        *(TASK_CONSUMER, QOS, STRATEGIES, UPDATE_STRATEGIES, APPLY_ETA_TASK),
        *(TASK_BUCKETS, RESET_RATE_LIMITS, BUCKET_FOR_TASK, ADD_TASK_QUEUE, CANCEL_TASK_QUEUE),
    )
    requires = (CONNECTION, POOL, REQUESTS, SETTLEMENT, GUARD, REVOKED, BUCKETS, TASK_QUEUES, TIMER, HUB)
    settings = (PREFETCH, TIME_LIMIT, SOFT_TIME_LIMIT, UNKNOWN_DELAYS, ETA_HORIZON)

    @classmethod
    def demands(cls, settings: Settings) -> Iterable[Demand]:
        """Limits for all tasks: an error at boot if the pool cannot keep them."""
        return demanded(settings)

    def start(self, consumer: ConsumerView) -> None:
        from bootsteps_consumer_tasks.handover import HandOver
        from bootsteps_consumer_tasks.prefetch import Prefetch, is_quorum
        from bootsteps_consumer_tasks.window import Window, can_follow, can_give_back

        intake, pool = self._make_intake(consumer), consumer.get(POOL)
        consumer.on_stop(intake.hang_up)
        queues = consumer.get(TASK_QUEUES)
        consumer.get(GUARD).queues = queues
        task_consumer = consumer.get(CONNECTION).Consumer(list(queues), on_message=intake.on_message)
        purged = queues.purge_once(task_consumer.channel)
        if purged is not None:
            consumer.log.warning("%d messages deleted from %s", purged, ", ".join(queue.name for queue in queues))
        self._multiplier, self._size = consumer.setting(PREFETCH), pool.concurrency
        # RabbitMQ heeds a change only if it is for the whole channel; quorum queues know no such limit.
        tell = partial(task_consumer.qos, apply_global=not any(map(is_quorum, queues)))
        qos = Prefetch(tell, self._usual())
        consumer.lend(STRATEGIES, intake.strategies)
        consumer.lend(UPDATE_STRATEGIES, intake.update_strategies)
        consumer.lend(APPLY_ETA_TASK, intake.apply_eta_task)
        buckets = consumer.get(BUCKETS)
        consumer.lend(TASK_BUCKETS, buckets)
        consumer.lend(RESET_RATE_LIMITS, buckets.reset)
        consumer.lend(BUCKET_FOR_TASK, buckets.bucket_for)
        consumer.lend(TASK_CONSUMER, task_consumer)
        consumer.lend(QOS, qos)
        self._intake, self._qos = intake, qos
        adapts = consumer.app.conf.source(PREFETCH.name) == "default" and can_follow(task_consumer.channel)
        told = qos, _ledger(consumer), pool, consumer.get(TIMER), self._usual
        copies = None if can_give_back(task_consumer.channel) else consumer.get(GUARD).give_back
        window = Window(*told, starts=consumer.get(SETTLEMENT).starts, copies=copies) if adapts else None
        self._handover = HandOver(
            _ledger(consumer), pool, qos, consumer.get(SETTLEMENT), consumer.get(REVOKED), consumer.get(BUCKETS),
            consumer.get(TIMER), intake.flush, window,
        )  # fmt: skip
        consumer.on_stop(self._handover.stop)
        self._hand_over_from(consumer.get(HUB), consumer.get(CONNECTION).transport)
        consumer.on_stop(self._stop_handing_over)
        keep_lease = getattr(consumer.get(CONNECTION).transport, "keep_lease", None)
        if keep_lease is not None and getattr(pool, "runs_in_loop", False):
            keep_lease(in_thread=True)
        task_consumer.consume()
        self._follow(consumer, queues, task_consumer)
        consumer.log.info("consuming from %s", ", ".join(queue.name for queue in queues))

    def _hand_over_from(self, hub: Hub, transport: Any) -> None:
        """Hand over at the end of each turn; and where the transport tells that it has delivered, at once.

        What else has its turn first, other connections and timers, took longer than the hand-over.
        """
        after_delivery = getattr(transport, "after_delivery", [])
        after_delivery.append(self._handover)
        hub.on_tick.add(self._handover)
        transport.have_enough = self._handover.has_enough  # where it is asked

        def stop() -> None:
            hub.on_tick.discard(self._handover)
            transport.have_enough = lambda: False
            if self._handover in after_delivery:
                after_delivery.remove(self._handover)

        self._stop_handing_over = stop

    def _usual(self) -> int:
        """The prefetch limit as the setting says it."""
        return self._size * self._multiplier

    def _follow(self, consumer: ConsumerView, queues: TaskQueues, task_consumer: Any) -> None:
        """Consume from queues that are added, and no more from those that are cancelled."""

        def consume(queue: Any) -> None:
            task_consumer.add_queue(queue)
            task_consumer.consume()
            consumer.log.info("consuming from %s too", queue.name)

        def cancel(queue: Any) -> None:
            task_consumer.cancel_by_queue(queue.name)
            consumer.log.info("no longer consuming from %s", queue.name)

        queues.connect(consume, cancel)
        consumer.on_stop(queues.disconnect)
        consumer.lend(ADD_TASK_QUEUE, queues.add)
        consumer.lend(CANCEL_TASK_QUEUE, queues.cancel)

    def _make_intake(self, consumer: ConsumerView) -> Intake:
        from bootsteps_consumer_tasks.strategy import Intake

        return Intake(
            consumer.app,
            consumer.hostname,
            _ledger(consumer),
            consumer.get(SETTLEMENT),
            consumer.get(TIMER),
            consumer.hooks,
            consumer.get(GUARD),
            consumer.get(REVOKED),
            consumer.get(BUCKETS),
            Limits(consumer.setting(TIME_LIMIT), consumer.setting(SOFT_TIME_LIMIT)),
            consumer.setting(UNKNOWN_DELAYS),
            consumer.get(POOL).capabilities,
            consumer.setting(ETA_HORIZON),
            consumer,
        )

    @hookimpl
    def pool_resized(self, size: int) -> None:
        """Reserve for as many as run now. A value that somebody set is moved, not replaced."""
        change, self._size = (size - self._size) * self._multiplier, size
        if change:
            adjust: Any = self._qos.increment_eventually if change > 0 else self._qos.decrement_eventually
            adjust(abs(change))

    @hookimpl
    def application_renewed(self, app: Any) -> None:
        """Take messages for the tasks that there are now."""
        self._intake.update_strategies()

    def close(self, consumer: ConsumerView) -> None:
        """Take no more messages, and give back those that the pool does not have."""
        self._stop_handing_over()
        self._cancel(consumer)
        given_back, running = self._intake.close(), _ledger(consumer).active()
        consumer.log.info("given back before their start: %d; still running: %d", given_back, running)
        consumer.hooks.announce("tasks_given_back", unstarted=given_back, interrupted=0)

    def _cancel(self, consumer: ConsumerView) -> None:
        """Ask for no more messages. A broker that says nothing must not hold up the end: what comes is given back."""

        from bootsteps import deadline

        def silent() -> KernelError:
            return KernelError(f"the broker did not answer within {CANCEL_S:g} s", (), "look after the broker")

        try:
            with deadline(CANCEL_S, silent):
                consumer.get(TASK_CONSUMER).cancel()
        except (KernelError, OSError) as exc:
            consumer.log.warning("consuming was not cancelled: %s", getattr(exc, "what", exc))

    def terminate(self, consumer: ConsumerView) -> None:
        """Give back everything that can be run again."""
        unstarted, interrupted = self._intake.interrupt()
        consumer.log.warning("given back: %d", unstarted + interrupted)
        consumer.hooks.announce("tasks_given_back", unstarted=unstarted, interrupted=interrupted)

    def info(self, consumer: ConsumerView) -> dict[str, Any]:
        return {
            "prefetch_count": consumer.get(QOS).value,
            "queues": [queue.name for queue in consumer.get(TASK_QUEUES)],
        }


def _ledger(consumer: ConsumerView) -> Ledger:
    from bootsteps_consumer_tasks.ledger import Ledger

    ledger = consumer.get(REQUESTS)
    assert isinstance(ledger, Ledger), "the step Requests of this distribution lends it"
    return ledger
