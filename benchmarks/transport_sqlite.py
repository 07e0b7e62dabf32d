# mypy: disable-error-code="no-untyped-call"
"""Measure the embedded broker: one process publishes, another consumes and acknowledges.

    python benchmarks/transport_sqlite.py [--messages 20000] [--json]

Bodies are about 250 bytes, the prefetch count is 64. Rates are messages per second of wall time; "cpu" is the
CPU time of the process concerned, in microseconds per message. "while the other works": both are busy.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, process_time, sleep, time
from typing import Any

from kombu.asynchronous import Hub
from kombu.connection import Connection
from kombu.entity import Queue

from bootsteps_transport_sqlite import connection

QUEUE, PREFETCH = Queue("bench"), 64
BODY = json.dumps([[1, 2], {"text": "x" * 170}, {"callbacks": None, "errbacks": None, "chain": None}]).encode()
HEADERS = {"lang": "py", "task": "proj.tasks.add", "id": "3f0b4a52-91f4-4be3-8d3c-8f0a4d0f5b1a", "retries": 0}
Figures = dict[str, Any]


def say(figures: Figures) -> None:
    print(json.dumps(figures), flush=True)


# -- the roles of the other processes: each prints one JSON line for each thing that the parent waits for


def publish_producer(con: Connection, count: int) -> None:
    """Publish with kombu's Producer, one transaction each."""
    producer = con.Producer()
    for _ in range(count):
        producer.publish(BODY, routing_key="bench", content_type="application/json", headers=HEADERS)


def publish_channel(con: Connection, count: int) -> None:
    """Publish on the channel, without kombu's Producer, one transaction each."""
    channel = con.default_channel
    for _ in range(count):
        message = channel.prepare_message(BODY, 0, "application/json", "utf-8", HEADERS, {"delivery_mode": 2})
        channel.basic_publish(message, "", "bench")


def publish_batch(con: Connection, count: int) -> None:
    """Publish with kombu's Producer in batches of 1,000."""
    producer = con.Producer()
    with producer.batch(max_size=1000):
        for _ in range(count):
            producer.publish(BODY, routing_key="bench", content_type="application/json", headers=HEADERS)


def role_publish(con: Connection, how: str, count: int) -> None:
    QUEUE(con.default_channel).declare()
    say({"ready": True})
    sys.stdin.readline()
    say(timed(count, lambda: PUBLISH[how](con, count)))


PUBLISH: dict[str, Callable[[Connection, int], None]] = {
    "producer": publish_producer,
    "channel": publish_channel,
    "batch": publish_batch,
}


def role_consume(con: Connection, how: str, count: int) -> None:
    seen, hub = [0], Hub()

    def take(message: Any) -> None:
        message.ack()
        seen[0] += 1
        if how == "hub" and seen[0] == count:
            hub.stop()
            con.transport.broker.owner.poke()  # the loop may be about to sleep

    def drain() -> None:
        while seen[0] < count:
            con.drain_events(timeout=60)
        con.transport.broker.flush()

    def loop() -> None:
        con.register_with_event_loop(hub)
        hub.run_forever()
        con.transport.broker.flush()

    say({"ready": True})
    sys.stdin.readline()
    with con.Consumer(QUEUE, on_message=take, prefetch_count=PREFETCH):
        say(timed(count, loop if how == "hub" else drain))


def role_latency(con: Connection, how: str, count: int) -> None:
    """Collect the time from before each publish to its callback, in milliseconds."""
    waits: list[float] = []
    hub = Hub()

    def take(body: Any, message: Any) -> None:
        waits.append((time() - body["sent"]) * 1000)
        message.ack()
        if how == "hub" and len(waits) == count:
            hub.stop()
            con.transport.broker.owner.poke()

    with con.Consumer(QUEUE, callbacks=[take], prefetch_count=PREFETCH):
        say({"ready": True})
        if how == "hub":
            con.register_with_event_loop(hub)
            hub.run_forever()
        while len(waits) < count:
            con.drain_events(timeout=60)
    cuts = statistics.quantiles(waits, n=100)
    say({"p50_ms": cuts[49], "p95_ms": cuts[94], "max_ms": max(waits)})


def role_hold(con: Connection, how: str, count: int) -> None:
    held: list[Any] = []
    with con.Consumer(QUEUE, on_message=held.append, prefetch_count=count):
        while True:
            con.drain_events()
            if len(held) == count:
                say({"ready": True})


ROLES = {"publish": role_publish, "consume": role_consume, "latency": role_latency, "hold": role_hold}


def timed(count: int, work: Callable[[], object]) -> Figures:
    wall, cpu = monotonic(), process_time()
    work()
    wall, cpu = monotonic() - wall, process_time() - cpu
    return {"per_s": count / wall, "cpu_us": cpu / count * 1e6}


# -- the parent


class Role:
    """Another process of this script."""

    def __init__(self, url: str, role: str, how: str, count: int) -> None:
        command = [
            sys.executable,
            __file__,
            "--role",
            role,
            "--how",
            how,
            "--messages",
            str(count),
            "--url",
            url,
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if role != "hold":
            self.read()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def read(self) -> Figures:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the other process failed"
        figures: Figures = json.loads(line)
        return figures


@contextmanager
def role(url: str, name: str, how: str, count: int) -> Iterator[Role]:
    started = Role(url, name, how, count)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def measure_publish(url: str, how: str, count: int) -> Figures:
    with role(url, "publish", how, count) as publisher:
        publisher.go()
        return publisher.read()


def measure_consume(url: str, how: str, count: int) -> Figures:
    with role(url, "consume", how, count) as consumer:
        consumer.go()
        return consumer.read()


def measure_both(url: str, count: int) -> tuple[Figures, Figures]:
    with role(url, "consume", "hub", count) as consumer, role(url, "publish", "producer", count) as publisher:
        consumer.go()
        publisher.go()
        return publisher.read(), consumer.read()


def measure_latency(url: str, how: str, count: int) -> Figures:
    with role(url, "latency", how, count) as consumer, connection(url) as con:
        producer = con.Producer()
        for _ in range(count):
            sleep(0.005)  # the consumer is idle when the next one comes
            producer.publish({"sent": time(), "text": "x" * 200}, routing_key="bench")
        return consumer.read()


def measure_redelivery(url: str, count: int = 10) -> Figures:
    """Kill a consumer that holds `count` messages; see when an idle one has them all."""
    got: list[Any] = []
    with connection(url) as con:
        publish_producer(con, count)
        with role(url, "hold", "", count) as holder:
            holder.read()
            with con.Consumer(QUEUE, on_message=got.append, prefetch_count=PREFETCH):
                with suppress(TimeoutError):
                    con.drain_events(timeout=0.7)
                assert not got
                os.kill(holder.process.pid, signal.SIGKILL)
                killed = monotonic()
                while len(got) < count:
                    con.drain_events(timeout=30)
                took = monotonic() - killed
                redelivered = sum(message.delivery_info["redelivered"] for message in got)
                for message in got:
                    message.ack()
    return {"redelivered": redelivered, "of": count, "after_s": took}


def measure(url: str, count: int) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    found["publish, kombu Producer"] = measure_publish(url, "producer", count)
    found["consume and ack, drain_events"] = measure_consume(url, "drain", count)
    found["publish, channel"] = measure_publish(url, "channel", count)
    found["consume and ack, Hub"] = measure_consume(url, "hub", count)
    found["publish, Producer.batch"] = measure_publish(url, "batch", count)
    with connection(url) as con:
        con.default_channel.queue_purge(QUEUE.name)
    both = measure_both(url, count)
    found["publish, while the other works"], found["consume and ack, while the other works"] = both
    found["latency, drain_events"] = measure_latency(url, "drain", 300)
    found["latency, Hub"] = measure_latency(url, "hub", 300)
    found["kill -9"] = measure_redelivery(url)
    return found


def table(found: dict[str, Figures]) -> str:
    return "\n".join(f"{name:42} {_line(figures)}" for name, figures in found.items())


def _line(f: Figures) -> str:
    if "per_s" in f:
        return f"{f['per_s']:10,.0f} /s {f['cpu_us']:8.1f} us cpu"
    if "p50_ms" in f:
        return f"{f['p50_ms']:10.2f} ms p50 {f['p95_ms']:6.2f} ms p95"
    return f"{f['redelivered']:>3} of {f['of']} redelivered after {f['after_s']:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000, help="messages in each run (default 20,000)")
    parser.add_argument("--synchronous", choices=["normal", "full"], default="normal")
    parser.add_argument("--dir", help="folder to put the broker in (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for internal in ("--role", "--how", "--url"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        with connection(args.url) as con:
            ROLES[args.role](con, args.how, args.messages)
        return
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        found = measure(f"sqlite:///{folder}/broker.db?synchronous={args.synchronous}", args.messages)
    print(json.dumps(found, indent=2) if args.json else table(found))


if __name__ == "__main__":
    main()
