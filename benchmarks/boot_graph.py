"""Measure how long it takes to resolve a blueprint of N steps and 4 N edges: it must grow as N does.

    python benchmarks/boot_graph.py [--steps 625 1250 2500 5000 10000] [--repeat 5] [--json]

Each step requires about four others by name, chosen at random (but the same each time) among those that can start
before it. The classes are made outside of the measured time; measured is `bootsteps.compose`, all checks included, as
the best of several runs. The exponent is the slope of log(seconds) over log(N): 1 = linear, 2 = quadratic.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from bootsteps import App, Catalogue, Plan, Step, compose

STEPS = (625, 1250, 2500, 5000, 10_000)
EDGES_PER_STEP = 4
Figures = dict[str, Any]


def synthetic(count: int, seed: int = 1) -> App:
    """Return an application with `count` steps (15 at least) and exactly four times as many requirements."""
    rng = random.Random(seed)
    names = [f"Step{number:06}" for number in range(count)]
    app = App()
    for number, name in enumerate(names):
        # The first four have fewer steps before them: the ten edges that they lack go to the steps 5 to 14.
        wanted = EDGES_PER_STEP + (1 if 5 <= number < 15 else 0)
        needs = tuple(names[other] for other in rng.sample(range(number), min(wanted, number)))
        app.steps["worker"].add(type(name, (Step,), {"__module__": "synthetic", "requires": needs}))
    return app


def resolve(app: App) -> tuple[float, Plan]:
    """Resolve once; return the seconds of CPU time that it took, and the plan."""
    began = time.process_time()
    plan = compose(app, Catalogue(()))
    return time.process_time() - began, plan


def measure(count: int, repeat: int) -> Figures:
    """Return the figures of one size."""
    app = synthetic(count)
    runs = [resolve(app) for _ in range(repeat)]
    seconds, edges = min(seconds for seconds, _ in runs), runs[0][1].graph.number_of_edges()
    return {"steps": count, "edges": edges, "seconds": seconds, "us_per_item": seconds / (count + edges) * 1e6}


def exponent(figures: Sequence[Figures]) -> float:
    """Return the slope of the least-squares line through (log steps, log seconds)."""
    points = [(math.log(row["steps"]), math.log(row["seconds"])) for row in figures]
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    slope: float = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return slope


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, metavar="N", help="sizes; two at least")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs of each size; the best counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    if len(set(options.steps)) < 2 or min(options.steps) < 15 or options.repeat < 1:
        parser.error("give two different sizes of 15 steps or more, and one run at least")
    resolve(synthetic(15))  # imports networkx, which is not what is measured
    figures = [measure(count, options.repeat) for count in sorted(set(options.steps))]
    slope = exponent(figures)
    if options.json:
        print(json.dumps({"python": platform.python_version(), "sizes": figures, "exponent": slope}, indent=2))
        return 0
    print(f"{'steps':>8} {'edges':>8} {'seconds':>9} {'µs per step or edge':>20}")
    for row in figures:
        print(f"{row['steps']:>8} {row['edges']:>8} {row['seconds']:>9.3f} {row['us_per_item']:>20.2f}")
    print(f"seconds grow with steps to the power of {slope:.2f} (CPU time, Python {platform.python_version()})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
