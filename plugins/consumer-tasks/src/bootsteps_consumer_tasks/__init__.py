"""Task messages: from the delivery to the acknowledgement."""

from bootsteps_consumer_tasks.keys import QOS, STRATEGIES, TASK_CONSUMER

__all__ = ["QOS", "STRATEGIES", "TASK_CONSUMER"]
