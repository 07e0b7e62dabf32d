"""The remote command `autoscale`."""

from __future__ import annotations

from typing import Any

from bootsteps import CommandView, control_command
from bootsteps_autoscaler.keys import AUTOSCALER

__all__ = ["autoscale"]


@control_command(requires=(AUTOSCALER,), args=[("max", int), ("min", int)], signature="[max [min]]")
def autoscale(state: CommandView, max: int | None = None, min: int | None = None, **extra: Any) -> dict[str, Any]:
    """Modify autoscale settings."""
    scaler = state.get(AUTOSCALER, None)
    if scaler is None:
        return {"error": "ValueError('Autoscale not enabled')"}  # Celery's words
    most, least = scaler.update(max, min)
    return {"ok": f"autoscale now max={most} min={least}"}
