"""Thousands of steps resolve in well under a second, and twice as many take about twice as long."""

from __future__ import annotations

import gc
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "boot_graph.py"
BENCHMARK: dict[str, Any] = runpy.run_path(str(SCRIPT))


@pytest.fixture
def quiet() -> Iterator[None]:
    """What the other tests left behind is not searched for garbage while we measure."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_five_thousand_steps_and_twenty_thousand_edges_resolve_in_under_a_second(quiet: None) -> None:
    app = BENCHMARK["synthetic"](5000)
    seconds, plan = BENCHMARK["resolve"](app)
    assert (len(plan.order), plan.graph.number_of_edges()) == (5000, 20_000)
    place = {candidate.name: number for number, candidate in enumerate(plan.order)}
    assert all(place[need] < place[step.name] for step in plan.order for need in step.cls.requires)
    assert seconds < 1.0


def test_twice_as_many_steps_cost_less_than_three_times_as_much(quiet: None) -> None:
    BENCHMARK["resolve"](BENCHMARK["synthetic"](15))
    small, large = (BENCHMARK["measure"](count, repeat=5)["seconds"] for count in (2500, 5000))
    assert large < 3 * small


def test_the_benchmark_finds_quadratic_growth() -> None:
    def row(steps: int, seconds: float) -> dict[str, float]:
        return {"steps": steps, "seconds": seconds}

    assert BENCHMARK["exponent"]([row(n, n * n / 7) for n in (10, 30, 90)]) == pytest.approx(2.0)
    assert BENCHMARK["exponent"]([row(n, n / 7) for n in (10, 30, 90)]) == pytest.approx(1.0)


def test_the_benchmark_prints_a_table_and_json() -> None:
    def printed(*args: str) -> str:
        command = [sys.executable, str(SCRIPT), "--steps", "40", "80", "--repeat", "1", *args]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    rows = printed().splitlines()
    assert [row.split()[:2] for row in rows[:3]] == [["steps", "edges"], ["40", "160"], ["80", "320"]]
    assert rows[3].startswith("seconds grow with steps to the power of ")
    told = json.loads(printed("--json"))
    assert [size["edges"] for size in told["sizes"]] == [160, 320]
    assert {"steps", "edges", "seconds", "us_per_item"} == set(told["sizes"][0])
