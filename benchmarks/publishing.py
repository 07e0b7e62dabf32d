"""Where do a publish's microseconds go? CPU and wall time of each part, on a private Redis and RabbitMQ.

    python benchmarks/publishing.py [--broker redis,amqp] [--calls 1000] [--reps 10] [--json]

Microseconds per message; the least of all repetitions, which take turns with each other. "its settings" is what the
first message pays, and the next one after a setting has changed. Beside Celery: ./x bench --measures enqueue.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from bootsteps_tasks import App  # noqa: E402
from bootsteps_tasks.sender import Sender  # noqa: E402
from services import rabbitmq_server, redis_server  # noqa: E402

SERVERS = {"redis": redis_server, "amqp": rabbitmq_server}
#: Microseconds: of CPU, and from begin to end.
Cost = tuple[float, float]


def parts_of(url: str) -> dict[str, Callable[[int], object]]:
    """Return what to measure, by name: functions that do it so many times."""
    app = App("publishing", broker=url, backend="disabled")

    @app.task(ignore_result=True)
    def noop(index: int) -> None:
        """Nobody runs it."""

    noop.delay(0)
    sender, publisher = Sender(app), app._publisher.get()
    sent = sender.make(noop, (1,), {}, {})

    def publish(calls: int) -> None:
        for _ in range(calls):
            publisher.publish(sent)

    return {
        "its settings": lambda calls: [Sender(app) for _ in range(calls // 10)] * 10,
        "the message": lambda calls: [sender.make(noop, (index,), {}, {}) for index in range(calls)],
        "to the broker": publish,
        "delay, all of it": lambda calls: [noop.delay(index) for index in range(calls)],
        "send_many, all of it": lambda calls: app.send_many((noop, (index,), {}, {}) for index in range(calls)),
    }


def measure(url: str, calls: int, reps: int) -> dict[str, Cost]:
    parts = parts_of(url)
    found = dict.fromkeys(parts, (float("inf"), float("inf")))
    for _ in range(reps):
        for name, part in parts.items():
            wall, cpu, done = perf_counter(), process_time(), calls // 10 if name == "its settings" else calls
            part(calls)
            spent = (process_time() - cpu) / done * 1e6, (perf_counter() - wall) / done * 1e6
            found[name] = min(found[name][0], spent[0]), min(found[name][1], spent[1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="redis,amqp", help="of these, with commas (default: both)")
    parser.add_argument("--calls", type=int, default=1000, help="messages in each repetition of each part")
    parser.add_argument("--reps", type=int, default=10, help="repetitions")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    found = {}
    for broker in args.broker.split(","):
        with tempfile.TemporaryDirectory() as folder, SERVERS[broker](Path(folder)) as url:
            found[broker] = measure(url, args.calls, args.reps)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for broker, parts in found.items():
        print(f"{broker:24}  CPU µs  wall µs")
        for name, (cpu, wall) in parts.items():
            print(f"  {name:22} {cpu:7.1f}  {wall:7.1f}")


if __name__ == "__main__":
    main()
