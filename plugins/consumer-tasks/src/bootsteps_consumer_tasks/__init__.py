"""Task messages: from the delivery to the acknowledgement."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
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

if TYPE_CHECKING:
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

__getattr__ = lazily(__name__, {"Request": "request"})
