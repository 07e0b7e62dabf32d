"""What the harness knows of a system: how to install it, start it, and what its application module is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["System"]


@dataclass(frozen=True)
class System:
    """One system in one configuration, always with two processes that run tasks.

    Commands are words behind the environment's bin folder; None where a system has no such command. `{node}` in the
    worker's becomes a name that no other worker of the cell has.
    """

    name: str
    #: what to call it in tables: name, what is special
    title: str
    #: its environment (environments.py), and the requirements of it
    environment: str
    #: the module in apps/ with its tasks
    app: str
    brokers: tuple[str, ...]
    worker: tuple[str, ...]
    #: the module that must be importable, for `--here`
    module: str
    help: tuple[str, ...] | None = None
    version: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: what to add to the worker's words, so that each process runs one task at one time
    one_at_a_time: tuple[str, ...] = ()
    #: RabbitMQ's queues to delete between two cells
    queues: tuple[str, ...] = ()
