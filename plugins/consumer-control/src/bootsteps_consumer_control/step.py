"""The consumer step `Control`."""

from __future__ import annotations

from typing import Any

from bootsteps import HUB, TIMER, ConsumerView, Setting, Step

__all__ = ["Control"]

QUEUE_TTL = Setting[float | None](
    "control_queue_ttl", float, 300.0, unit="s", flags=(), help="how long a command waits for its worker"
)
QUEUE_EXPIRES = Setting[float | None](
    "control_queue_expires", float, 10.0, unit="s", flags=(), help="how long an unused mailbox is kept"
)
ENABLED = Setting[bool]("worker_enable_remote_control", bool, True, flags=(), help="take commands from the broker")


class Control(Step):
    """Takes remote commands on a connection of its own, which it makes anew when it breaks."""

    requires = (HUB, TIMER)
    settings = (QUEUE_TTL, QUEUE_EXPIRES, ENABLED)
    independent = True

    def include_if(self, consumer: ConsumerView) -> bool:
        return bool(consumer.setting(ENABLED))

    def start(self, consumer: ConsumerView) -> None:
        from bootsteps_consumer import SideConnection
        from bootsteps_consumer_control.switchboard import Switchboard

        app, run = consumer.app, Switchboard(consumer.blueprint).run
        times = consumer.setting(QUEUE_TTL), consumer.setting(QUEUE_EXPIRES)

        def begin(connection: Any) -> None:
            from bootsteps_consumer_control.mailbox import mailbox, node

            conf = app.conf
            where = connection, conf["control_exchange"], conf["accept_content"], conf["task_serializer"]
            node(mailbox(*where, *times, app.clock), consumer.hostname, connection.channel(), run).open()
            consumer.log.debug("the mailbox is open")

        side = SideConnection(
            consumer.get(HUB), consumer.get(TIMER), consumer.log, "remote control", app.connection, begin,
            heartbeat_s=getattr(consumer, "amqheartbeat", 0.0),
        )  # fmt: skip
        consumer.on_stop(side.close)
        side.open()
