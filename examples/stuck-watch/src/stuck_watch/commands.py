"""The remote command."""

from __future__ import annotations

from bootsteps import CommandView, inspect_command
from stuck_watch.watch import WATCH

__all__ = ["stuck"]


@inspect_command(requires=(WATCH,))
def stuck(state: CommandView, limit: int = 10) -> list[str]:
    """List overdue tasks, longest-running first."""
    return [f"{request.name}[{request.id}]" for request in state.get(WATCH).overdue()[:limit]]
