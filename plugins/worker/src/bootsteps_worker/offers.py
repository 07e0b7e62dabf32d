"""Our distributions by what they bring, for the message when a worker lacks it.

This is the catalogue of the house, and only advice: nothing is found or chosen by it.
"""

OFFERS = {
    "pool": ("bootsteps-worker-pool-prefork", "bootsteps-worker-pool-solo", "bootsteps-worker-pool-threads"),
    "Pool": ("bootsteps-worker-pool-prefork", "bootsteps-worker-pool-solo", "bootsteps-worker-pool-threads"),
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
