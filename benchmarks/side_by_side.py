"""Latency at 100 tasks a second, side by side: the workers of all systems run on one broker, in turns of ten tasks.

`./x bench --measures latency` gives each system some seconds of its own, which may be good or bad ones of the
machine: what differs by less than a fifth it cannot tell apart. Here a turn of one system is followed by one of the
next within 0.3 s. The environments are those that `./x bench` has made.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from comparing.brokers import BROKERS, Brokers, running  # noqa: E402
from comparing.cell import Cell, Client  # noqa: E402
from comparing.environments import FOLDER  # noqa: E402
from comparing.measures.base import percentile  # noqa: E402
from comparing.slots import Slots  # noqa: E402
from comparing.systems import SYSTEMS  # noqa: E402

RATE = 100.0
LIMIT_S = 60.0
#: The first of a turn finds cold caches and is left out, as are the first turns.
TURN, WARM_UP = 10, 3
#: Ours and Celery have the same queue by default.
OWN_QUEUE = {"KERNEL_TASK_DEFAULT_QUEUE": "ours"}


@dataclass
class Side:
    """One system with its worker and client; of each turn the milliseconds of its tasks."""

    slots: Slots
    client: Client
    starts: list[list[float]] = field(default_factory=list)
    results: list[list[float]] = field(default_factory=list)

    def turn(self, number: int) -> None:
        """Wait for each result of ten tasks, then send ten at an even rate and see when they start."""
        first = 2 * TURN * number
        waits = self.client.call("results", first, TURN, RATE)["waits"]
        self.client.call("paced", first + TURN, TURN, RATE)
        self.slots.wait_all(first + TURN, TURN, LIMIT_S, lambda: True)
        pairs = zip(self.slots.sent(first + TURN, TURN), self.slots.began(first + TURN, TURN), strict=True)
        if number >= WARM_UP:
            self.results.append([1000 * seconds for seconds in waits[1:]])
            self.starts.append([1000 * (began - sent) for sent, began in pairs][1:])


def main() -> None:
    """Run the turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="ours,celery,dramatiq", help="default: ours,celery,dramatiq")
    parser.add_argument("--broker", choices=BROKERS[:2], default="amqp", help="default: amqp")
    parser.add_argument("--turns", type=int, default=100, help="of each system (default: 100)")
    options = parser.parse_args()
    names = options.systems.split(",")
    if unknown := [name for name in names if name not in SYSTEMS]:
        parser.error(f"there is no system {unknown[0]!r}; there are: {', '.join(SYSTEMS)}")
    if shared := _shared(names):
        parser.error(f"{' and '.join(shared)} would take each other's tasks: they have one queue; name one of them")
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as place, ExitStack() as stack:
        folder = Path(place)
        brokers = stack.enter_context(running([options.broker], folder))
        sides = {name: _begin(name, options.broker, brokers, folder / name, options.turns, stack) for name in names}
        for number in range(options.turns + WARM_UP):
            for name in names if number % 2 else names[::-1]:
                sides[name].turn(number)
            print(f"\r{number + 1}/{options.turns + WARM_UP}", end="", file=sys.stderr)
    print(file=sys.stderr)
    _show(sides)


def _shared(names: list[str]) -> list[str]:
    """Return systems that consume from one queue, though not by our setting."""
    others = [name for name in names if SYSTEMS[name].environment != "ours"]
    pairs = [(a, b) for a in others for b in others if a < b and {*SYSTEMS[a].queues} & {*SYSTEMS[b].queues}]
    return list(pairs[0]) if pairs else []


def _begin(name: str, broker: str, brokers: Brokers, folder: Path, turns: int, stack: ExitStack) -> Side:
    system = SYSTEMS[name]
    system = replace(system, env={**system.env, **OWN_QUEUE})
    folder.mkdir()
    cell = Cell(system, FOLDER / system.environment / "bin", *brokers.place(broker, folder), folder, LIMIT_S)
    slots = cell.slots(2 * TURN * (turns + WARM_UP))
    stack.enter_context(cell.worker(results=True, name=name))
    return Side(slots, stack.enter_context(cell.client(results=True)))


def _show(sides: dict[str, Side]) -> None:
    ours = next(iter(sides.values()))
    print("| ms | start, p50 | p99 | result, p50 | p99 | its median turn by the first's: start | result |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, side in sides.items():
        cells = []
        for turns in (side.starts, side.results):
            milliseconds = [each for turn in turns for each in turn]
            cells += [f"{percentile(milliseconds, percent):.2f}" for percent in (50, 99)]
        for mine, firsts in ((side.starts, ours.starts), (side.results, ours.results)):
            pairs = zip(mine, firsts, strict=True)
            cells.append(f"{statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs):.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
