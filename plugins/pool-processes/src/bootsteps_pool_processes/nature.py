"""What the children of a pool are: how their processes come to be, and what runs in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bootsteps_pool_processes.settings import CAPABILITIES, START_LIMIT_S

if TYPE_CHECKING:
    import socket

    from bootsteps import Runner
    from bootsteps_pool_processes.recycle import Recycling
    from bootsteps_pool_processes.shared import Claims, Slot

__all__ = ["Equipment", "Nature"]


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a child works with. Made in the child."""

    socket: socket.socket
    claims: Claims
    slot: Slot
    recycling: Recycling
    #: For those whose loop needs more than one runner; each is to be started.
    make_runner: Callable[[], Runner]


@dataclass(frozen=True, slots=True)
class Nature:
    """One kind of children."""

    #: The pool's name, as in `-P`.
    pool: str
    #: The loop of a child, called with its equipment and its runner (of the sort that the loop wants) until it returns.
    #: A function, or its name (`MODULE:FUNCTION`) if only children may import it.
    work: Callable[[Equipment, Any], None] | str
    #: Each child runs one job at a time.
    single: bool = True
    #: What the pool can do.
    capabilities: frozenset[str] = CAPABILITIES
    start_method: str = "fork"
    #: Python statements for a fresh interpreter, before it imports anything else (monkey-patching). Needs `spawn`.
    first: str = ""
    #: Seconds that a child may take to be ready, with all that its runner does at the start; then it is killed.
    start_limit_s: float = START_LIMIT_S

    def name(self, index: int) -> str:
        """Return the name of the process at this place, as in Celery's logs; they count from 1."""
        prefix = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}[self.start_method]
        return f"{prefix}PoolWorker-{index + 1}"
