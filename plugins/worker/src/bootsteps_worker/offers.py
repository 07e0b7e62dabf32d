"""Our distributions by what they bring, for the message when a worker lacks it.

This is the catalogue of the house, and only advice: nothing is found or chosen by it.
"""

POOLS = tuple(
    f"bootsteps-worker-pool-{name}" for name in ("prefork", "solo", "threads", "asyncio", "gevent", "eventlet")
)
OFFERS = {
    "pool": POOLS,
    "Pool": POOLS,
    "hub": ("bootsteps-worker-hub",),
    "Hub": ("bootsteps-worker-hub",),
    "timer": ("bootsteps-worker-timer",),
    "Timer": ("bootsteps-worker-timer",),
    "Consumer": ("bootsteps-consumer",),
    "Connection": ("bootsteps-consumer",),
    "connection": ("bootsteps-consumer",),
    "runner": ("bootsteps-consumer-tasks",),
    "requests": ("bootsteps-consumer-tasks",),
    "Tasks": ("bootsteps-consumer-tasks",),
}
