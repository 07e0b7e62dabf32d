"""The consumer: a blueprint inside the worker that lives with its connection to the broker."""

from bootsteps_consumer.keys import CONNECTION, CONSUMER

__all__ = ["CONNECTION", "CONSUMER"]
