"""The services of the step `Tasks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer_tasks.guard import Guard
    from bootsteps_consumer_tasks.queues import TaskQueues
    from bootsteps_consumer_tasks.rates import Buckets
    from bootsteps_consumer_tasks.revoked import Revoked
    from bootsteps_consumer_tasks.settlement import Settlement
    from bootsteps_consumer_tasks.snapshots import Snapshots
    from bootsteps_consumer_tasks.state import WorkerState
    from bootsteps_consumer_tasks.taskcontrol import TaskControl

__all__ = [
    *("ADD_TASK_QUEUE", "CANCEL_TASK_QUEUE", "TASK_QUEUES"),
    *("APPLY_ETA_TASK", "BUCKETS", "BUCKET_FOR_TASK", "GUARD", "QOS", "RESET_RATE_LIMITS", "REVOKED"),
    *(
        "SETTLEMENT",
        "SNAPSHOTS",
        "STATE",
        "STRATEGIES",
        "TASK_BUCKETS",
        "TASK_CONSUMER",
        "TASK_CONTROL",
        "UPDATE_STRATEGIES",
    ),
]

#: The revoked ids and stamps; lent in the worker by the step `Revokes`.
REVOKED: ServiceKey[Revoked] = ServiceKey("revoked")
#: Revokes, terminates, changes limits; lent in the worker by the step `Requests`.
TASK_CONTROL: ServiceKey[TaskControl] = ServiceKey("task_control")
#: Lists the requests as they stand: active, reserved, scheduled; lent in the worker by the step `Requests`.
SNAPSHOTS: ServiceKey[Snapshots] = ServiceKey("request_snapshots")
#: `worker.state`, with Celery's names; lent in the worker by the step `Requests`.
STATE: ServiceKey[WorkerState] = ServiceKey("state")
#: Task name to its token bucket, or None; lent in the worker by the step `Requests`.
BUCKETS: ServiceKey[Buckets] = ServiceKey("rate_limits")
#: The consumer's: `consumer.task_buckets`, `consumer.reset_rate_limits()`, `consumer.bucket_for_task(task)`.
TASK_BUCKETS: ServiceKey[Buckets] = ServiceKey("task_buckets")
RESET_RATE_LIMITS = ServiceKey[Callable[[], None]]("reset_rate_limits")
BUCKET_FOR_TASK = ServiceKey[Callable[[Any], Any]]("bucket_for_task")
#: Counts attempts and parks what has had too many; lent in the worker by the step `Requests`.
GUARD: ServiceKey[Guard] = ServiceKey("guard")

#: Settles outcomes; lent in the worker by the step `Requests`.
SETTLEMENT: ServiceKey[Settlement] = ServiceKey("settlement")

#: The `kombu.Consumer` of task messages.
TASK_CONSUMER = ServiceKey[Any]("task_consumer")
#: The `kombu.common.QoS` of its channel: `value`, `set`, `increment_eventually`, `decrement_eventually`.
QOS = ServiceKey[Any]("qos")
#: Task name to the function that takes a message of that task.
STRATEGIES = ServiceKey[Mapping[str, Any]]("strategies")
#: `consumer.update_strategies()`: for tasks that were registered in the meantime.
UPDATE_STRATEGIES = ServiceKey[Callable[[], None]]("update_strategies")
#: The queues that are consumed from, whatever the connection; lent in the worker by the step `Requests`.
TASK_QUEUES: ServiceKey[TaskQueues] = ServiceKey("task_queues")
#: `consumer.add_task_queue(queue, exchange, exchange_type, routing_key, **options)`, kept over reconnects.
ADD_TASK_QUEUE = ServiceKey[Callable[..., Any]]("add_task_queue")
#: `consumer.cancel_task_queue(queue)`, kept over reconnects.
CANCEL_TASK_QUEUE = ServiceKey[Callable[[str], bool]]("cancel_task_queue")
#: `consumer.apply_eta_task(request)`.
APPLY_ETA_TASK = ServiceKey[Callable[[Any], None]]("apply_eta_task")
