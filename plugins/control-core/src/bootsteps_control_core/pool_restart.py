"""The remote command `pool_restart`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bootsteps import CommandView, control_command

__all__ = ["pool_restart"]


@control_command(signature="", args=())
def pool_restart(
    state: CommandView, modules: Sequence[str] | None = None, reload: bool = False, reloader: Any = None, **extra: Any
) -> dict[str, Any]:
    """Restart execution pool: every child is replaced after its task."""
    if not state.app.conf.get("worker_pool_restarts"):
        return {"error": "ValueError('Pool restarts not enabled')"}  # Celery's words
    state.consumer.controller.reload(modules, reload, reloader=reloader)
    return {"ok": "reload started"}
