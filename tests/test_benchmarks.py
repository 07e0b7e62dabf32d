"""./x bench: ours alone and beside Celery, with very small numbers; and what is said of the figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from comparing import environments
from comparing.brokers import Brokers
from comparing.environments import _requirements
from comparing.measures import MEASURES, Scale
from comparing.measures.fairness import ideal_waits
from comparing.processes import Tree
from comparing.run import Plan, run
from comparing.samples import Samples, Spread
from comparing.slots import NotDone, Slots
from comparing.systems import SYSTEMS, System
from comparing.table import tables

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


def bench(folder: Path, *words: str, status: int = 0) -> tuple[str, dict[str, Any]]:
    """Run the comparison in this environment; return what it printed and its JSON."""
    found = folder / "found.json"
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--here", "--reps", "1", "--json", str(found), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, json.loads(found.read_text())


def run_of(found: dict[str, Any], measure: str, system: str) -> dict[str, float]:
    """Return the figures of the one repetition of a cell."""
    for cell in found["cells"]:
        if (cell["measure"], cell["system"]) == (measure, system):
            (run,) = cell["runs"]
            assert run is not None, cell["failure"]
            return dict(run)
    raise AssertionError(f"{measure} of {system} is not in {found['cells']}")


def test_ours_alone_on_the_embedded_broker(tmp_path: Path) -> None:
    shown, found = bench(
        tmp_path, "--systems", "ours", "--broker", "sqlite", "--n", "1000", "--measures", "stored,enqueue,startup",
    )  # fmt: skip
    figures = run_of(found, "stored", "ours")
    assert 50 < figures["rate"] < 1e6
    assert 0.0 <= figures.get("cpu_ms", 0.0) < 50_000  # a busy machine may look too late to tell
    assert run_of(found, "enqueue", "ours")["bulk"] > 50
    assert 1 < run_of(found, "startup", "ours")["version"] < run_of(found, "startup", "ours")["ready"]
    assert "| no-op tasks, results stored, tasks/s |" in shown
    assert found["scale"]["n"] == 1000
    again = [sys.executable, str(BENCHMARKS / "compare.py"), "--from", str(tmp_path / "found.json")]
    assert subprocess.run(again, capture_output=True, text=True, check=True).stdout == shown


def test_beside_celery_on_redis(tmp_path: Path, redis_url: str) -> None:
    pytest.importorskip("celery")
    shown, found = bench(
        tmp_path, "--systems", "ours,celery,huey", "--n", "300", "--measures", "throughput",
        "--chart", str(tmp_path / "chart.svg"),
    )  # fmt: skip
    assert [run_of(found, "throughput", system)["rate"] > 20 for system in ("ours", "celery")] == [True, True]
    assert found["left_out"] == ["huey: not installed here"]
    ratios = shown.partition("Ours by theirs")[2]
    assert "| no-op tasks, results ignored |" in ratios
    assert "×" in ratios
    assert "Redis: no-op tasks" in (tmp_path / "chart.svg").read_text()


def test_a_worker_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    ours = SYSTEMS["ours"]
    broken = System(
        name="ours", title="ours", environment="here", app=ours.app, module=ours.module, brokers=("sqlite",),
        worker=("kernel", "-A", "no_such_app", "worker"),
    )  # fmt: skip
    plan = Plan([broken], ["sqlite"], ["sqlite"], ["throughput"], Scale(n=50), repetitions=1, limit_s=20.0)
    samples = run(plan, {"here": Path(sys.executable).parent}, Brokers(tmp_path), tmp_path)
    assert samples.runs == {("throughput", "ours", "sqlite"): [None]}
    failure = tables(samples)
    assert "failed: throughput, ours on sqlite: not 5 of 50 tasks began: the worker has ended" in failure
    assert "no_such_app" in failure


def test_a_ratio_is_taken_within_a_repetition_and_above_one_is_better() -> None:
    ours, theirs = ("throughput", "ours", "redis"), ("throughput", "celery", "redis")
    samples = Samples()
    for ours_rate, their_rate in ((200.0, 10.0), (100.0, 10.0), (None, 10.0), (900.0, 30.0)):
        samples.add(ours, None if ours_rate is None else {"rate": ours_rate, "cpu_ms": 1000 / ours_rate}, "why")
        samples.add(theirs, {"rate": their_rate, "cpu_ms": 1000 / their_rate})
    rate, cpu, *_ = MEASURES["throughput"].figures
    assert samples.ratio(ours, theirs, rate) == Spread(20.0, 10.0, 30.0)
    less = samples.ratio(ours, theirs, cpu)
    assert less is not None
    assert (less.median, less.low, less.high) == pytest.approx((20.0, 10.0, 30.0))
    assert samples.spread(ours, rate) == Spread(200.0, 100.0, 900.0)


def test_the_cpu_of_a_tree_counts_children_that_live_and_those_that_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    stay = burn + "print(1, flush=True); input()"
    parent = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {burn!r}])
child = subprocess.Popen([sys.executable, "-c", {stay!r}], stdin=-1, stdout=-1)
child.stdout.readline()
print("done", flush=True)
sys.stdin.readline()
child.communicate(b"x")
"""
    command = [sys.executable, "-c", parent]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    tree = Tree(process.pid)
    assert len(tree.pids()) == 2
    assert 0.55 < tree.cpu_s() < 3.0
    assert tree.pss_mib() > 1
    assert tree.voluntary_switches() > 0
    process.communicate(b"x")
    assert Tree(process.pid).cpu_s() == 0.0


def test_the_sink_tells_when_tasks_began(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "sink", 3)
    note = "import sink; sink.sent(1); sink.began(1); sink.began(2)"
    env = {**os.environ, "PYTHONPATH": str(BENCHMARKS / "apps"), "BENCH_SINK": str(slots.path)}
    before = time.monotonic()
    subprocess.run([sys.executable, "-c", note], env=env, check=True)
    (sent,), (first, began, last) = slots.sent(1, 1), slots.began(0, 3)
    assert first == 0.0
    assert before < sent <= began <= last < time.monotonic()
    slots.wait_all(1, 2, 0.0, lambda: True)
    slots.wait_some(0, 3, 2, 0.0, lambda: True)
    with pytest.raises(NotDone, match="not all of 3 tasks began within 0 s"):
        slots.wait_all(0, 3, 0.0, lambda: True)
    with pytest.raises(NotDone, match="the worker has ended"):
        slots.wait_some(0, 3, 3, 5.0, lambda: False)


def test_an_environment_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "environments")
    peers = [SYSTEMS["celery"], SYSTEMS["celery-tuned"]]
    monkeypatch.setenv("UV", "/no/such/uv")
    made, failed = environments.make(peers)
    assert (made, list(failed)) == ({}, ["celery"])
    assert "uv could not be started" in failed["celery"]
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\necho no such version >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("UV", str(program))
    assert environments.make(peers) == ({}, {"celery": "uv could not install it:\nno such version"})


def test_the_environment_of_ours_is_the_standard_set_of_this_checkout() -> None:
    words = _requirements("ours")
    assert str(ROOT / "kernel") in words
    assert str(ROOT / "plugins" / "worker-pool-prefork") in words
    assert str(ROOT / "plugins" / "standard") in words
    assert str(ROOT / "plugins" / "pool-processes") in words  # a part of a part


def test_every_peer_is_pinned_by_number() -> None:
    for file in sorted((BENCHMARKS / "requirements").glob("*.txt")):
        assert all("==" in line and "://" not in line for line in file.read_text().splitlines()), file


def test_a_short_tasks_ideal_wait() -> None:
    assert ideal_waits()[:4] == [0.0, 0.0, 0.0, 0.05]
    assert len(ideal_waits()) == 100


def test_what_it_is_asked_for_must_exist(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--systems", "ours,celry"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown: celry; known: ours, celery" in done.stderr
