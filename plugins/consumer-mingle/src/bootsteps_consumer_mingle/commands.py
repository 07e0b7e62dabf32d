"""The command `hello`, which workers ask each other."""

from __future__ import annotations

from typing import Any

from bootsteps import CommandView, inspect_command
from bootsteps_consumer_tasks import REVOKED

__all__ = ["hello"]


@inspect_command(requires=(REVOKED,), visible=False)
def hello(state: CommandView, from_node: str, revoked: Any = None, **extra: Any) -> dict[str, Any] | None:
    """Exchange the revoked tasks and the logical clock with another worker."""
    if from_node == state.hostname:
        return None
    known = state.get(REVOKED)
    if isinstance(revoked, list | dict):
        known.update(revoked)
    return {"revoked": known.snapshot(), "clock": state.app.clock.forward()}
