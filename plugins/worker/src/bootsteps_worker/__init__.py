"""The worker: its blueprint, its process and its program."""

from bootsteps_worker.controller import WorkController
from bootsteps_worker.names import expand_path, node_name

__all__ = ["WorkController", "expand_path", "node_name"]
