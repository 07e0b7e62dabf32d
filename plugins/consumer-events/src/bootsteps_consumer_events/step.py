"""The consumer step `Events`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import HUB, TIMER, ConsumerView, State, Step
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_events.keys import EVENT_DISPATCHER
from bootsteps_consumer_events.settings import SEND_TASK_EVENTS, SETTINGS

if TYPE_CHECKING:
    from bootsteps_consumer_events.dispatcher import Dispatcher

__all__ = ["TOGETHER", "EventsStep"]

#: So many events of tasks travel in one message at most; usually it is those of one turn of the loop.
TOGETHER = 200


class EventsStep(Step):
    """Sends events on a connection of its own, and keeps them while there is none."""

    name = "Events"
    provides = (EVENT_DISPATCHER,)
    requires = (CONNECTION, HUB, TIMER)
    before = ("Tasks",)
    settings = SETTINGS

    def create(self, consumer: ConsumerView) -> Dispatcher:
        from bootsteps_consumer_events.dispatcher import Dispatcher
        from bootsteps_consumer_events.wiring import Wiring

        dispatcher = Dispatcher(
            app=consumer.app,
            hostname=consumer.hostname,
            groups=() if consumer.setting(SEND_TASK_EVENTS) else ("worker",),
            buffer_group=("task",),
            buffer_limit=TOGETHER,
        )
        self._wiring = Wiring(consumer.app, consumer.hooks, dispatcher)
        dispatcher.on_change = self._wiring.refresh
        return dispatcher

    def start(self, consumer: ConsumerView) -> None:
        from bootsteps_consumer_events.outlet import Outlet

        self._outlet = Outlet(consumer.app, self.obj, consumer.get(HUB), consumer.get(TIMER))
        self._wiring.refresh()
        self._outlet.open()

    def stop(self, consumer: ConsumerView) -> None:
        """Send what waits; but not when only the connection is lost: then it is kept for the next one."""
        if consumer.blueprint.state is State.RUN:
            self._outlet.close(flush=False)
        else:
            self.terminate(consumer)

    def terminate(self, consumer: ConsumerView) -> None:
        """Send what waits, also of tasks that were interrupted just now."""
        self._outlet.close(flush=True)
        self._wiring.undo()

    def info(self, consumer: ConsumerView) -> dict[str, Any]:
        return {}
