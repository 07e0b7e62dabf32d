"""The consumer step `Heart`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import REQUESTS, TIMER, ConsumerView, Setting, State, Step
from bootsteps_consumer_events import EVENT_DISPATCHER
from bootsteps_consumer_heart.keys import HEART

if TYPE_CHECKING:
    from bootsteps_consumer_heart.heart import Heart

__all__ = ["HeartStep"]


def _interval(value: Any) -> float:
    seconds = float(value)
    if isinstance(value, bool) or not seconds > 0:
        raise ValueError("it is a number of seconds above 0")
    return seconds


WITHOUT = Setting[bool](
    "worker_without_heartbeat", bool, False, flags=("--without-heartbeat",), help="send no heartbeats to monitors"
)
INTERVAL = Setting[float](
    "worker_heartbeat_interval",
    _interval,
    2.0,
    unit="s",
    flags=("--heartbeat-interval",),
    help="how often monitors are told that the worker is alive",
)


class HeartStep(Step):
    """Sends heartbeats as events."""

    name = "Heart"
    provides = (HEART,)
    requires = (EVENT_DISPATCHER, TIMER)
    wants = (REQUESTS,)
    before = ("Tasks",)
    settings = (WITHOUT, INTERVAL)

    def include_if(self, consumer: ConsumerView) -> bool:
        return not consumer.setting(WITHOUT)

    def create(self, consumer: ConsumerView) -> None:
        """Nothing yet: the dispatcher is lent when its step starts."""

    def start(self, consumer: ConsumerView) -> None:
        from bootsteps_consumer_heart.heart import Heart

        requests = consumer.get(REQUESTS, None)

        def work() -> tuple[int, int]:
            return (0, 0) if requests is None else (len(requests.running()), requests.processed())

        def announce(heart: Heart) -> None:
            if consumer.hooks.listeners("heartbeat_sent"):
                consumer.hooks.announce("heartbeat_sent", heart=heart)

        dispatcher, interval = consumer.get(EVENT_DISPATCHER), consumer.setting(INTERVAL)
        self._heart = Heart(consumer.get(TIMER), dispatcher, interval, work, announce)
        consumer.on_stop(self._heart.forget)
        consumer.lend(HEART, self._heart)
        self._heart.start()

    def stop(self, consumer: ConsumerView) -> None:
        """Tell that the worker goes; a worker whose connection broke comes back, and says nothing."""
        if consumer.blueprint.state is State.RUN:
            self._heart.rest()
        else:
            self._heart.stop()

    def terminate(self, consumer: ConsumerView) -> None:
        self._heart.stop()
