"""The command `heartbeat`."""

from __future__ import annotations

from typing import Any

from bootsteps import CommandView, control_command
from bootsteps_consumer_heart.keys import HEART

__all__ = ["heartbeat"]

#: A monitor that just came asks all workers; it shall not miss them if their next beat is late (Celery's number).
FREQ_S = 5


@control_command(requires=(HEART,), signature="")
def heartbeat(state: CommandView, **extra: Any) -> None:
    """Tell worker(s) to send event heartbeat immediately."""
    state.get(HEART).beat(FREQ_S)
