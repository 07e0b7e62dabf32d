"""The commands `enable_events` and `disable_events`: their replies are Celery's."""

from __future__ import annotations

import logging
from typing import Any

from bootsteps import CommandView, control_command
from bootsteps_consumer_events.keys import EVENT_DISPATCHER

__all__ = ["disable_events", "enable_events"]

log = logging.getLogger("consumer.Events")


@control_command(requires=(EVENT_DISPATCHER,), signature="")
def enable_events(state: CommandView, **extra: Any) -> dict[str, str]:
    """Tell worker(s) to send task-related events."""
    dispatcher = state.get(EVENT_DISPATCHER)
    dispatcher.wake()
    if dispatcher.wants("task"):
        return {"ok": "task events already enabled"}
    dispatcher.groups.add("task")
    log.info("events of tasks are enabled by remote control")
    return {"ok": "task events enabled"}


@control_command(requires=(EVENT_DISPATCHER,), signature="")
def disable_events(state: CommandView, **extra: Any) -> dict[str, str]:
    """Tell worker(s) to stop sending task-related events, also those that were started with -E."""
    dispatcher = state.get(EVENT_DISPATCHER)
    if not dispatcher.wants("task"):
        return {"ok": "task events already disabled"}
    if dispatcher.groups:
        dispatcher.groups.discard("task")
    else:
        dispatcher.groups.replace(("worker",))
    log.info("events of tasks are disabled by remote control")
    return {"ok": "task events disabled"}
