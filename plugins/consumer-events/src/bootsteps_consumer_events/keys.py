"""The service of the step `Events`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer_events.dispatcher import Dispatcher

__all__ = ["EVENT_DISPATCHER"]

#: Sends events of this worker: `consumer.event_dispatcher.send("my-event", colour="red")`. Outlives connections.
EVENT_DISPATCHER: ServiceKey[Dispatcher] = ServiceKey("event_dispatcher")
