"""The command `election`."""

from __future__ import annotations

from typing import Any

from bootsteps import CommandView, control_command
from bootsteps_consumer_gossip.keys import GOSSIP

__all__ = ["election"]


@control_command(
    requires=(GOSSIP,), args=[("id", str), ("topic", str), ("action", str)], signature="<id> <topic> [action]"
)
def election(state: CommandView, id: str, topic: str, action: Any = None, **extra: Any) -> None:
    """Hold an election: one of the workers does it (topic `task`: applies the signature `action`)."""
    state.get(GOSSIP).election(id, topic, action)
