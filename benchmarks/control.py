"""Measure how fast workers answer remote control while they have other things to do.

    python benchmarks/control.py [--pings 50] [--held 30000] [--brokers redis,amqp] [--systems ours,celery]

Private servers on loopback. Both workers are asked by Celery's own client, `app.control.ping(destination=[NODE])`, so
the figures differ by the worker alone; the local socket, which only ours has, by `kernel inspect ping --local PID`.
Prints a Markdown table; times are milliseconds: median, 95th percentile, longest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from bootsteps_control_socket import ask, find
from gate import Gate, through
from services import rabbitmq_server, redis_server

APP = """
    import time
    from {package} import {cls}
    app = {cls}("proj")
    app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, task_acks_late=False, {more})

    @app.task(name="proj.nap")
    def nap(seconds, mark=None):
        if mark:
            open(mark, "w").close()
        time.sleep(seconds)

    @app.task(name="proj.noop")
    def noop():
        pass
"""
SILENT = "no answer"
SERVERS = {"redis": redis_server, "amqp": rabbitmq_server}
#: How long to wait for one answer, seconds.
PATIENCE_S = 5.0


def figures(samples: list[float]) -> str:
    """Return median, 95th percentile and longest, in milliseconds."""
    late = sorted(samples)[max(0, round(0.95 * len(samples)) - 1)]
    return " / ".join(f"{1000 * value:.1f}" for value in (statistics.median(samples), late, max(samples)))


def timed(call: Callable[[], object], times: int, pause_s: float = 0.0) -> str:
    """Return the figures of a call that must return something true."""
    samples: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        if not call():
            return SILENT
        samples.append(time.perf_counter() - began)
        time.sleep(pause_s)
    return figures(samples)


class Place:
    """One worker of one system on one broker, and the client that asks it."""

    def __init__(self, system: str, url: str, folder: Path) -> None:
        from celery import Celery

        self.system, self.url, self.folder = system, url, folder
        self.node = f"{system}@bench"
        self.client: Any = Celery("proj", broker=url, set_as_current=False)
        self.client.conf.update(task_ignore_result=True, result_backend="disabled://")

    def ping(self) -> object:
        """Ask once; what came."""
        return self.client.control.ping(destination=[self.node], timeout=PATIENCE_S)

    @contextmanager
    def worker(self, *options: str, url: str = "") -> Iterator[subprocess.Popen[bytes]]:
        ours = self.system == "ours"
        names = {"package": "bootsteps_tasks", "cls": "App"} if ours else {"package": "celery", "cls": "Celery"}
        more = "worker_eta_horizon=1e9" if ours else "broker_connection_retry_on_startup=True"
        (self.folder / "proj.py").write_text(textwrap.dedent(APP).format(**names, more=more))
        words = ["-m", "bootsteps", "-A", "proj"] if ours else ["-m", "celery", "-A", "proj", "-b", url or self.url]
        env = dict(os.environ, KERNEL_BROKER_URL=url or self.url, PYTHONPATH=str(self.folder))
        env["XDG_STATE_HOME"] = str(self.folder / "state")
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words, "worker", "-n", self.node, "-l", "WARNING", *options],
                cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            until(self.ping, 60)
            yield process
        finally:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in (process.pid, *map(int, children)):
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            process.wait()
            self.client.control.purge()

    def send(self, name: str, count: int, *args: Any, countdown: float | None = None) -> None:
        with self.client.pool.acquire(block=True) as connection, self.client.amqp.Producer(connection) as producer:
            for _ in range(count):
                self.client.send_task(name, args, producer=producer, countdown=countdown)


def until(true: Callable[[], object], limit_s: float) -> None:
    ends = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {limit_s:g} s")
        time.sleep(0.05)


def idle(place: Place, options: argparse.Namespace) -> str:
    with place.worker("-c", "2"):
        return timed(place.ping, options.pings)


def busy_children(place: Place, options: argparse.Namespace) -> str:
    with place.worker("-c", "2"):
        place.send("proj.nap", 100, 60)
        until(lambda: len((place.client.control.inspect([place.node]).active() or {}).get(place.node, ())) >= 2, 30)
        return timed(place.ping, options.pings)


def flood(place: Place, options: argparse.Namespace) -> str:
    """No-op tasks that come all the time, from a thread that sends as many as it can."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            place.send("proj.noop", 100)

    with place.worker("-c", "2"):
        place.send("proj.noop", 20_000)
        sender = threading.Thread(target=send)
        sender.start()
        try:
            return timed(place.ping, options.pings)
        finally:
            over.set()
            sender.join()


def held(place: Place, options: argparse.Namespace) -> str:
    """Tasks whose ETA is far away; counted only when the worker has all of them."""
    with place.worker("-c", "2"):
        place.send("proj.nap", options.held, 0, countdown=3600)

        def all_held() -> bool:
            found = (place.client.control.inspect([place.node], timeout=10).stats() or {}).get(place.node, {})
            return bool(found.get("prefetch_count", 0) >= options.held)

        until(all_held, 900)
        return timed(place.ping, options.pings)


def reconnecting(place: Place, options: argparse.Namespace) -> str:
    """All connections of the worker but that of remote control (for Celery: all) are cut twice a second."""
    gate, over = Gate(urlsplit(place.url).port or 0), threading.Event()
    with place.worker("-c", "2", url=through(place.url, gate)):
        spared = _of_control(place, gate) if place.system == "ours" else set()

        def cut() -> None:
            while not over.wait(0.5):
                for number in range(len(gate)):
                    if number not in spared:
                        gate.cut(number)

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            return timed(place.ping, options.pings, pause_s=0.05)
        finally:
            over.set()
            cutter.join()
            gate.close()


def _of_control(place: Place, gate: Gate) -> set[int]:
    """Find out which connections lead to the mailbox: those through which an answer goes."""
    before = gate.passed()
    for _ in range(200):
        place.ping()
    return {number for number, (old, new) in enumerate(zip(before, gate.passed(), strict=False)) if new - old > 20_000}


def solo(place: Place, options: argparse.Namespace) -> str:
    with place.worker("-P", "solo"):
        mark = place.folder / "mark"
        place.send("proj.nap", 1, 60, str(mark))
        until(mark.exists, 30)
        return timed(lambda: place.client.control.ping(destination=[place.node], timeout=2), 1)


def solo_local(place: Place, options: argparse.Namespace) -> dict[str, str]:
    """Ours in a task of 60 s, asked on its socket: in a program, and by the whole command."""
    with place.worker("-P", "solo") as process:
        path = find(str(process.pid))
        found = {"local socket, idle": timed(lambda: ask(path, "ping", {}), options.pings)}
        mark = place.folder / "mark"
        mark.unlink(missing_ok=True)
        place.send("proj.nap", 1, 60, str(mark))
        until(mark.exists, 30)
        found["local socket, solo pool in a task of 60 s"] = timed(lambda: ask(path, "ping", {}), options.pings)
        words = [sys.executable, "-m", "bootsteps", "inspect", "ping", "--local", str(process.pid)]
        whole = timed(lambda: not subprocess.run(words, capture_output=True, check=True).returncode, 20)
        return {**found, "the same, `kernel inspect ping --local PID` as a whole": whole}


SITUATIONS = {
    "idle": idle,
    "both children in long tasks, 98 more waiting": busy_children,
    "no-op tasks at full speed": flood,
    "ETA tasks held": held,
    "the connection of the tasks cut twice a second": reconnecting,
    "solo pool in a task of 60 s": solo,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pings", type=int, default=50)
    parser.add_argument("--held", type=int, default=30_000)
    parser.add_argument("--brokers", default="redis,amqp")
    parser.add_argument("--systems", default="ours,celery")
    parser.add_argument("--only", default="", help="situations whose name contains this")
    options = parser.parse_args()
    print("| Broker | Situation | " + " | ".join(options.systems.split(",")) + " |", flush=True)
    for broker in options.brokers.split(","):
        with tempfile.TemporaryDirectory() as name, SERVERS[broker](Path(name)) as url:
            for situation, measure in SITUATIONS.items():
                if options.only in situation:
                    places = [Place(system, url, Path(name)) for system in options.systems.split(",")]
                    cells = [_cell(measure, place, options) for place in places]
                    print(f"| {broker} | {situation} | " + " | ".join(cells) + " |", flush=True)
            if "local".startswith(options.only):
                for situation, cell in solo_local(Place("ours", url, Path(name)), options).items():
                    print(f"| {broker} | {situation} | {cell} | |", flush=True)


def _cell(measure: Callable[[Place, argparse.Namespace], str], place: Place, options: argparse.Namespace) -> str:
    try:
        return measure(place, options)
    except TimeoutError as exc:
        return f"{exc}"
    finally:
        place.client.close()


if __name__ == "__main__":
    main()
