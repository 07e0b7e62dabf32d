"""Task messages: from the delivery to the acknowledgement."""

from bootsteps_consumer_tasks.keys import (
    BUCKETS,
    QOS,
    REVOKED,
    SNAPSHOTS,
    STRATEGIES,
    TASK_CONSUMER,
    TASK_CONTROL,
    TASK_QUEUES,
)
from bootsteps_consumer_tasks.request import Request

__all__ = [
    "BUCKETS",
    "QOS",
    "REVOKED",
    "SNAPSHOTS",
    "STRATEGIES",
    "TASK_CONSUMER",
    "TASK_CONTROL",
    "TASK_QUEUES",
    "Request",
]
