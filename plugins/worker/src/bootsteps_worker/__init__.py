"""The worker: its blueprint, its process and its program."""

from bootsteps_worker.controller import WorkController

__all__ = ["WorkController"]
