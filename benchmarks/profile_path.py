"""Where a worker's microseconds go: CPU time per no-op task, on Redis or RabbitMQ, by the part of the way.

A worker with two children is started under a sampling timer that counts its CPU time (user and system), parent and
children alike, so that nothing is slowed down but by some samples. What the parts are is in PARTS below.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from comparing.processes import Tree  # noqa: E402
from comparing.slots import Slots  # noqa: E402
from services import rabbitmq_server, redis_server  # noqa: E402

#: Of parent and children, at each sample the stack, innermost first, as `module:function`.
Samples = dict[str, list[list[str]]]
#: The first argument of this program where it becomes a worker.
UNDER_TIMER = "--under-timer"
LIMIT_S = 120.0
SERVERS = {"redis": redis_server, "amqp": rabbitmq_server}
#: A sample is taken after so much CPU time; the system's clock may make it longer.
EVERY_S = 0.001
#: The child's first tasks import and connect: they are not counted, nor are the parent's.
WARM_UP = 0.1

#: The first of these whose module (and function) is found on the stack, innermost frame first, owns a sample.
PARTS: Mapping[str, tuple[str, ...]] = {
    "reserve and acknowledge: the call to Redis": ("bootsteps_transport_redis.link",),
    "envelope: JSON, base64, the message object": (
        "bootsteps_transport_redis.codec",
        "bootsteps_transport_redis.plain",
    ),
    "transport: buffer, window, turns": ("bootsteps_transport_redis",),
    "transport: read": ("bootsteps_transport_amqp.reading", "bootsteps_transport_amqp.tables"),
    "transport: receive, settle, write": ("bootsteps_transport_amqp", "amqp"),
    "headers": ("bootsteps_tasks.message",),
    "strategy, ledger, hand-over": ("bootsteps_consumer_tasks",),
    "what the child gets: pack": ("bootsteps_consumer_tasks.envelope",),
    "pool: dispatch, sockets, frames": ("bootsteps_pool_processes",),
    "outcome, settlement": ("bootsteps_consumer_tasks.settlement", "bootsteps_consumer_tasks.outcome"),
    "trace: context, run, ending": (
        "bootsteps_tasks.trace",
        "bootsteps_tasks.request",
        "bootsteps_consumer_tasks.runner",
    ),
    "body: JSON": ("bootsteps_tasks.message:decode_body", "bootsteps_tasks.message:decode"),
    "results": ("bootsteps_tasks.backend", "bootsteps_result_redis"),
    "the task": ("ours_app", "sink", "bootsteps_tasks.task"),
    "loop": ("bootsteps_worker_hub", "kombu.asynchronous", "bootsteps_consumer", "bootsteps_worker"),
}


def main() -> int:
    """Run the worker and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="tasks (default: 20000)")
    parser.add_argument("--broker", choices=SERVERS, default="redis", help="default: redis")
    parser.add_argument("--results", action="store_true", help="store results in Redis")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="show the N costliest functions, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("worker", nargs="*", help="further words for `kernel worker`, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        samples, cpu_us = _measure(Path(folder), options.broker, options.n, options.results, options.worker)
    parts = {who: _shares(samples[who], cpu_us[who]) for who in ("parent", "children")}
    if options.json:
        print(json.dumps({"cpu_us": cpu_us, "parts": parts}))
        return 0
    for who, shares in parts.items():
        print(f"\n{who}: {cpu_us[who]:.1f} µs per task\n\n| part | µs per task |\n|---|---:|")
        for part, micros in sorted(shares.items(), key=lambda item: -item[1]):
            print(f"| {part} | {micros:.1f} |")
        for place, micros in _leaves(samples[who], cpu_us[who])[: options.functions]:
            print(f"    {micros:6.2f}  {place}")
    return 0


def _measure(
    folder: Path, broker: str, count: int, results: bool, words: Sequence[str]
) -> tuple[Samples, dict[str, float]]:
    """Run the worker on a backlog; return where parent and children were, and the CPU (µs) that a task took of each."""
    server = folder / "server"
    server.mkdir()
    with SERVERS[broker](server) as url, ExitStack() as stack:
        backend = url if broker == "redis" else stack.enter_context(redis_server(folder)) if results else ""
        environment = {
            **os.environ, "PYTHONPATH": f"{HERE / 'apps'}", "BENCH_BROKER": url, "BENCH_BACKEND": backend,
            "BENCH_RESULTS": str(int(results)), "BENCH_SINK": str(folder / "sink"), "PROFILE": str(folder / "samples"),
        }  # fmt: skip
        slots = Slots(folder / "sink", count)
        fill = f"import ours_app; ours_app.send_bulk(range({count}))"
        subprocess.run([sys.executable, "-c", fill], env=environment, check=True)
        command = [sys.executable, __file__, UNDER_TIMER, "-A", "ours_app", "worker", "-c", "2", *words]
        with subprocess.Popen(command, env=environment) as worker:
            try:
                since, until, used = _watch(worker, slots, count)
            finally:
                worker.send_signal(signal.SIGTERM)
    left = sum(1 for when in slots.began(0, count) if when > since)
    parent = used.pop(worker.pid) / left * 1e6
    samples = _read(folder / "samples", worker.pid, since, until)
    print(f"{left / (until - since):.0f} tasks/s", file=sys.stderr)
    return samples, {"parent": parent, "children": sum(used.values()) / left * 1e6}


def _watch(worker: subprocess.Popen[bytes], slots: Slots, count: int) -> tuple[float, float, dict[int, float]]:
    """Wait for the tasks; return when the first of them were done, when all, and the CPU seconds used meanwhile."""

    def alive() -> bool:
        return worker.poll() is None

    tree = Tree(worker.pid)
    slots.wait_some(0, count, int(count * WARM_UP), LIMIT_S, alive)
    since, before = time.monotonic(), tree.cpu_s_by_process()
    slots.wait_all(0, count, LIMIT_S, alive)
    time.sleep(0.1)  # what is put off: acknowledgements
    used = {pid: seconds - before.get(pid, 0.0) for pid, seconds in tree.cpu_s_by_process().items()}
    return since, time.monotonic(), used


def _read(file: Path, parent: int, since: float, until: float) -> Samples:
    samples: Samples = {"parent": [], "children": []}
    for line in file.read_text().splitlines():
        when, pid, *places = line.split(" ")
        if since <= float(when) <= until:
            samples["parent" if int(pid) == parent else "children"].append(places)
    return samples


def _shares(samples: list[list[str]], cpu_us: float) -> dict[str, float]:
    found = Counter(_part(places) for places in samples)
    return {part: number / max(1, len(samples)) * cpu_us for part, number in found.items()}


def _part(places: list[str]) -> str:
    for place in places:
        module = place.partition(":")[0]
        for known in (place, *_packages(module)):
            for part, owners in PARTS.items():
                if known in owners:
                    return part
    return "other"


def _packages(module: str) -> Iterator[str]:
    while module:
        yield module
        module = module.rpartition(".")[0]


def _leaves(samples: list[list[str]], cpu_us: float) -> list[tuple[str, float]]:
    found = Counter(places[0] + (" < " + places[1] if len(places) > 1 else "") for places in samples if places)
    return [(place, number / len(samples) * cpu_us) for place, number in found.most_common()]


def under_timer() -> None:
    """Become `kernel`, and write down where it is whenever some CPU time was used; in its children, too."""
    from bootsteps.cli import main as kernel

    file = os.open(os.environ["PROFILE"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def on_time(signum: int, frame: FrameType | None) -> None:
        places: list[str] = []
        while frame is not None and len(places) < 25:
            places.append(f"{frame.f_globals.get('__name__')}:{frame.f_code.co_name}")
            frame = frame.f_back
        os.write(file, f"{time.monotonic()} {os.getpid()} {' '.join(places)}\n".encode())

    def start() -> None:
        signal.signal(signal.SIGPROF, on_time)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    os.register_at_fork(after_in_child=lambda: signal.setitimer(signal.ITIMER_PROF, 0))
    start()
    sys.argv[:2] = ["kernel"]
    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
    import ours_app

    # The pool's children begin without any handler of signals.
    ours_app.app.hooks.connect("worker_process_init")(lambda: start())
    sys.exit(kernel())


if __name__ == "__main__":
    if sys.argv[1:2] == [UNDER_TIMER]:
        under_timer()
    else:
        sys.exit(main())
