# mypy: disable-error-code="no-untyped-call"
"""Another process on the broker: `peer.py VERB URL ARGS...`, one JSON line on stdout for each event."""

from __future__ import annotations

import json
import resource
import sys
from time import monotonic
from typing import Any

from kombu.asynchronous import Hub
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from bootsteps_transport_sqlite import connection


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def event(body: Any, message: Any) -> list[Any]:
    info = message.delivery_info
    return [body, info["redelivered"], info["delivery_count"]]


def hold(con: Connection, queue: str, prefetch: str) -> None:
    """Take messages and settle none."""
    with con.Consumer(
        Queue(queue),
        callbacks=[lambda body, message: say(event(body, message))],
        prefetch_count=int(prefetch),
    ):
        say("ready")
        while True:
            con.drain_events()


def work(con: Connection, queue: str, prefetch: str) -> None:
    """Take messages and acknowledge them."""

    def done(body: Any, message: Any) -> None:
        message.ack()
        say(event(body, message))

    with con.Consumer(Queue(queue), callbacks=[done], prefetch_count=int(prefetch)):
        say("ready")
        while True:
            con.drain_events()


def hub_work(con: Connection, queue: str, prefetch: str) -> None:
    """Like `work`, on kombu's event loop."""

    def done(body: Any, message: Any) -> None:
        message.ack()
        say(event(body, message))

    hub = Hub()
    with con.Consumer(Queue(queue), callbacks=[done], prefetch_count=int(prefetch)):
        con.register_with_event_loop(hub)
        say("ready")
        hub.run_forever()


def listen(con: Connection, exchange: str, name: str) -> None:
    """Hear a fanout exchange through a queue of one's own."""
    mine = Queue(name, Exchange(exchange, "fanout"), exclusive=True, auto_delete=True)
    with con.Consumer(mine, callbacks=[lambda body, message: say(body)], no_ack=True):
        say("ready")
        while True:
            con.drain_events()


def publish(con: Connection, queue: str, first: str, count: str) -> None:
    """Publish numbers, each in a transaction of its own."""
    producer = con.Producer()
    for number in range(int(first), int(first) + int(count)):
        producer.publish(number, exchange="", routing_key=queue, declare=[Queue(queue)])
    say("published")


def idle(con: Connection, queue: str, seconds: str) -> None:
    """Wait for messages that never come; tell the CPU seconds that it took, blocking and on the loop."""
    with con.Consumer(Queue(queue), callbacks=[event]):
        before, until = cpu_s(), monotonic() + float(seconds)
        while monotonic() < until:
            try:
                con.drain_events(timeout=until - monotonic())
            except TimeoutError:
                break
        blocking = cpu_s() - before
        hub = Hub()
        con.register_with_event_loop(hub)
        before = cpu_s()
        hub.call_later(float(seconds), hub.stop)
        hub.run_forever()
        say([blocking, cpu_s() - before])


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    with connection(sys.argv[2]) as opened:
        globals()[sys.argv[1]](opened, *sys.argv[3:])
