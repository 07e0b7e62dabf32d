"""The command line of `./x bench`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from comparing import brokers, chart, environments, record
from comparing.measures import DEFAULT as DEFAULT_MEASURES
from comparing.measures import MEASURES, Scale
from comparing.run import Plan, run
from comparing.samples import Samples
from comparing.systems import DEFAULT as DEFAULT_SYSTEMS
from comparing.systems import SYSTEMS, System
from comparing.table import tables

__all__ = ["command"]

#: What a cell may take: the slowest system does some hundreds of tasks a second on a busy machine.
LIMIT_S, SLOWEST_PER_S = 60.0, 150.0


def command(argv: Sequence[str], description: str) -> int:
    """Do what the arguments say; return the exit status: 1 if nothing of ours could be measured."""
    options = _parse(argv, description)
    if options.read:
        heading, samples = record.read(options.read)
        _show(heading, samples, options.chart)
        return 0
    scale = _scale(options)
    systems = [SYSTEMS[name] for name in options.systems]
    bins, without = (environments.here if options.here else environments.make)(systems)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, brokers.running(options.broker, Path(name)) as servers:
        plan = Plan(
            systems=[system for system in systems if system.environment in bins],
            brokers=[broker for broker in options.broker if broker in servers.urls],
            storing=[broker for broker in options.broker if broker != "amqp" or "redis" in servers.urls],
            measures=options.measures,
            scale=scale,
            repetitions=options.reps,
            limit_s=LIMIT_S + max(dataclasses.astuple(scale)[:4]) / SLOWEST_PER_S,
        )
        left_out = [*_left_out(systems, without), *(f"{broker}: {why}" for broker, why in servers.missing.items())]
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        if not plan.systems or not plan.brokers:
            return 1
        machine = record.machine(bins, servers.urls)

        def keep(samples: Samples) -> None:
            if options.json:
                record.write(options.json, machine, plan, samples, left_out)

        samples = run(plan, bins, servers, Path(name), keep)
        keep(samples)
    _show(record.heading(machine, plan, samples), samples, options.chart)
    ours = [runs for (_, system, _), runs in samples.runs.items() if system == "ours"]
    return 1 if any(run is None for runs in ours for run in runs) else 0


def _show(heading: str, samples: Samples, picture: Path | None) -> None:
    print(heading)
    print(tables(samples))
    if picture:
        chart.write(picture, samples)


def _left_out(systems: Sequence[System], without: dict[str, str]) -> list[str]:
    return [f"{system.name}: {without[system.environment]}" for system in systems if system.environment in without]


def _scale(options: argparse.Namespace) -> Scale:
    scale = Scale.full() if options.full else Scale()
    return dataclasses.replace(scale, **dict.fromkeys(_COUNTS, options.n)) if options.n else scale


_COUNTS = ("n", "enqueued", "remembered", "later")


def _parse(argv: Sequence[str], description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "./x bench", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--systems", type=_some_of(SYSTEMS), help=f"of {', '.join(SYSTEMS)}, or all")
    add("--broker", type=_some_of(brokers.BROKERS), help=f"of {', '.join(brokers.BROKERS)}, or all")
    add("--measures", type=_some_of(MEASURES), help=f"of {', '.join(MEASURES)}, or all")
    add("--n", type=int, metavar="N", help="tasks, wherever a number of tasks is needed")
    add("--reps", type=int, metavar="N", default=3, help="repetitions (default: 3)")
    add("--full", action="store_true", help="everything, with the numbers that are published")
    add("--json", type=Path, metavar="FILE", help="write every sample here")
    add("--chart", type=Path, metavar="FILE", help="draw what was measured: .svg or .png")
    add("--from", dest="read", nargs="+", type=Path, metavar="FILE", help="measure nothing: show what --json wrote")
    add("--here", action="store_true", help="use the environment that this runs in, and only what it holds")
    options = parser.parse_args(argv)
    options.systems = options.systems or list(SYSTEMS if options.full else DEFAULT_SYSTEMS)
    options.broker = options.broker or list(brokers.BROKERS if options.full else ("redis",))
    options.measures = options.measures or list(MEASURES if options.full else DEFAULT_MEASURES)
    if options.reps < 1 or (options.n is not None and options.n < 50):
        parser.error("give one repetition at least, and 50 tasks")
    return options


def _some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a reader of names with commas between them, which knows these and `all`."""

    def read(text: str) -> list[str]:
        names = list(known) if text == "all" else text.split(",")
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; known: {', '.join(known)}, all")
        return names

    return read
