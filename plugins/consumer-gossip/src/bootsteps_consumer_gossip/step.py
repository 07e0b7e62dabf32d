"""The consumer step `Gossip`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bootsteps import HUB, TIMER, ConsumerView, Setting, Step
from bootsteps_consumer_events import EVENT_DISPATCHER
from bootsteps_consumer_gossip.keys import GOSSIP

if TYPE_CHECKING:
    from logging import Logger

    from bootsteps_consumer_gossip.gossip import Gossip

__all__ = ["GossipStep"]


WITHOUT = Setting[bool](
    "worker_without_gossip", bool, False, flags=("--without-gossip",), help="do not listen to the other workers' events"
)
#: Seconds that an event waits for us (Celery's number).
QUEUE_TTL_S = 5.0


class GossipStep(Step):
    """Listens to the events of the other workers, on a connection of its own."""

    name = "Gossip"
    provides = (GOSSIP,)
    requires = (EVENT_DISPATCHER, HUB, TIMER)
    before = ("Tasks",)
    settings = (WITHOUT,)

    def include_if(self, consumer: ConsumerView) -> bool:
        return not consumer.setting(WITHOUT)

    def create(self, consumer: ConsumerView) -> None:
        """Nothing yet: the dispatcher is lent when its step starts."""

    def start(self, consumer: ConsumerView) -> None:
        from bootsteps_consumer import SideConnection
        from bootsteps_consumer_gossip.gossip import Gossip
        from bootsteps_consumer_gossip.watch import Watch

        app = consumer.app
        gossip = Gossip(app, consumer.hostname, consumer.get(EVENT_DISPATCHER))
        consumer.lend(GOSSIP, gossip)
        watch = Watch(gossip, consumer.get(TIMER))
        side = SideConnection(
            consumer.get(HUB), consumer.get(TIMER), consumer.log, "gossip", app.connection,
            lambda connection: _listen(gossip, connection, watch.after_event, consumer.log),
            heartbeat_s=getattr(consumer, "amqheartbeat", 0.0),
        )  # fmt: skip
        consumer.on_stop(side.close)
        side.open()
        watch.begin()
        consumer.on_stop(watch.end)

    def info(self, consumer: ConsumerView) -> dict[str, Any]:
        return {}


def _listen(gossip: Gossip, connection: Any, heard: Callable[[], None], log: Logger) -> None:
    channel = connection.channel()
    receiver = gossip.app.events.Receiver(channel, routing_key="worker.#", queue_ttl=QUEUE_TTL_S)

    def on_message(message: Any) -> None:
        # A fanout brings events of tasks, too; none of them is decoded.
        if str(message.delivery_info.get("routing_key", "")).startswith("task."):
            return
        try:
            _, event = receiver.event_from_message(message.payload)
            gossip.on_event(event, own=event.get("hostname") == gossip.hostname)
            heard()
        except Exception as exc:  # anybody may write to the exchange
            log.error("an event of a worker cannot be used: %s: %s (%.200r)", type(exc).__name__, exc, message.body)

    consumer = connection.Consumer(
        [receiver.queue], channel=channel, on_message=on_message, no_ack=True, accept=receiver.accept
    )
    consumer.consume()
