"""Chosen subsets in empty environments: a part's steps, options and commands are there exactly when the part is.

The environments are real: made anew, with our folders installed into them as a user would.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from installing import ROOT, kernel, make_environment, pip_install
from workers import WorkerProcess

PROJ = ROOT / "examples" / "proj"
#: Everything that a worker on the embedded broker needs, but a pool.
POOLLESS = (
    "worker",
    "worker-hub",
    "worker-timer",
    "consumer",
    "consumer-tasks",
    "tasks",
    "transport-sqlite",
    "result-sqlite",
)
Environment = Callable[..., Path]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return a function that makes an environment of the kernel and these plugins, once; it returns the interpreter."""
    made: dict[frozenset[str], Path] = {}

    def make(*plugins: str) -> Path:
        key = frozenset(plugins)
        if key not in made:
            members = ["kernel", *(f"plugins/{plugin}" for plugin in plugins)]
            made[key] = make_environment(tmp_path_factory.mktemp("environment") / "venv", members)
        return made[key]

    return make


def answer(python: Path, folder: Path, *args: str) -> str:
    done = kernel(folder, *args, python=python, path=[PROJ])
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(python: Path, folder: Path, *args: str) -> str:
    done = kernel(folder, *args, python=python, path=[PROJ])
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert re.search(r"^  try: .", done.stderr, re.M), done.stderr
    return done.stderr


def commands(python: Path, folder: Path) -> list[str]:
    _, _, listed = answer(python, folder, "--help").partition("Commands:\n")
    return [line.split()[0] for line in listed.splitlines()]


def test_the_kernel_alone_has_one_command_and_no_plugin(environment: Environment, tmp_path: Path) -> None:
    python = environment()
    assert commands(python, tmp_path) == ["plugins"]
    assert json.loads(answer(python, tmp_path, "plugins", "list", "--json")) == []
    for name in ("worker", "graph", "demo", "call"):
        text = refusal(python, tmp_path, name)
        assert f"there is no command {name!r}" in text
        assert "kernel --help lists those that are installed" in text


def test_the_console_script_is_there_with_the_kernel(environment: Environment) -> None:
    script = environment().parent / "kernel"
    told = subprocess.run([str(script), "--version"], capture_output=True, text=True, timeout=60).stdout
    assert re.fullmatch(r"kernel \d+\.\d+\.\d+ \(bootsteps\)\n", told)


def test_a_worker_without_a_pool_says_what_is_missing_and_who_offers_it(
    environment: Environment, tmp_path: Path
) -> None:
    python = environment(*POOLLESS)
    text = refusal(python, tmp_path, "worker", "-A", "proj")
    assert "step 'Requests' requires the service 'pool', which nothing installed offers" in text
    assert "  worker.steps:Requests (bootsteps-consumer-tasks 0.1.0)" in text
    pools = " or ".join(
        f"bootsteps-worker-pool-{name}" for name in ("prefork", "solo", "threads", "asyncio", "gevent", "eventlet")
    )
    assert f"  try: pip install {pools}\n" in text
    assert refusal(python, tmp_path, "worker", "-A", "proj", "--dry-run") == text


def test_a_worker_with_nothing_to_run_says_so_instead_of_ending(environment: Environment, tmp_path: Path) -> None:
    text = refusal(environment("worker"), tmp_path, "worker")
    assert "no step runs a loop" in text
    assert "  worker.steps:Signals (bootsteps-worker 0.1.0)" in text
    assert "  try: pip install bootsteps-consumer" in text


def test_the_smallest_worker_runs_a_task_end_to_end(environment: Environment, tmp_path: Path) -> None:
    python = environment(*POOLLESS, "worker-pool-solo")
    worker = WorkerProcess(tmp_path, command=("-A", "proj", "worker", "-l", "INFO"), path=[PROJ], python=python)
    try:
        worker.until_logged(" ready.")
        assert answer(python, tmp_path, "-A", "proj", "call", "proj.add", "--args", "[2, 3]", "--wait") == "SUCCESS 5\n"
        assert worker.stop() == 0
    finally:
        if worker.process.poll() is None:
            worker.kill()


def test_commands_are_there_exactly_when_their_plugin_is(environment: Environment, tmp_path: Path) -> None:
    small = environment(*POOLLESS, "worker-pool-solo")
    assert commands(small, tmp_path) == ["call", "plugins", "quarantine", "result", "worker"]
    assert "there is no command 'graph'" in refusal(small, tmp_path, "graph")
    drawn = environment(*POOLLESS, "worker-pool-solo", "graph")
    assert commands(drawn, tmp_path) == ["call", "graph", "plugins", "quarantine", "result", "worker"]
    worker, consumer = json.loads(answer(drawn, tmp_path, "graph", "-A", "proj", "--format", "json"))["blueprints"]
    assert {step["distribution"]["name"] for step in (*worker["steps"], *consumer["steps"])} == {
        f"bootsteps-{name}" for name in (*POOLLESS, "worker-pool-solo")
    } - {"bootsteps-tasks", "bootsteps-transport-sqlite", "bootsteps-result-sqlite"}


POOLS = {f"worker-pool-{name}" for name in ("prefork", "solo", "threads", "asyncio", "gevent", "eventlet")}
#: Those of child processes.
CHILDREN = POOLS - {"worker-pool-solo", "worker-pool-threads"}
#: Each option, and the plugins of which one is enough to have it.
OPTIONS = {
    "--grace": {"worker"},
    "--prefetch-multiplier": {"consumer-tasks"},
    "--queues": {"consumer-tasks"},
    "--time-limit": {"consumer-tasks"},
    "--soft-time-limit": {"consumer-tasks"},
    "--pool": POOLS,
    "--concurrency": POOLS,
    "--max-tasks-per-child": POOLS - {"worker-pool-threads"},
    "--max-memory-per-child": POOLS - {"worker-pool-threads"},
    "--max-memory-per-child-hard": CHILDREN,
    "--pool-start-method": {"worker-pool-prefork", "worker-pool-asyncio"},
    "--pool-children": CHILDREN - {"worker-pool-prefork"},
}


def test_options_are_there_exactly_when_their_plugin_is(environment: Environment, tmp_path: Path) -> None:
    sets = [
        ("worker",),
        ("worker", "worker-hub", "worker-timer", "consumer"),
        POOLLESS,
        (*POOLLESS, "worker-pool-solo"),
        ("worker", "worker-pool-prefork", "pool-processes"),
    ]
    for plugins in sets:
        python = environment(*plugins)
        text = answer(python, tmp_path, "worker", "--help")
        for option, owners in OPTIONS.items():
            assert (f"{option} " in text) == bool(owners & set(plugins)), (plugins, option)
    text = refusal(environment("worker"), tmp_path, "worker", "--prefetch-multiplier", "2")
    assert "No such option '--prefetch-multiplier'" in text


def test_plain_pip_installs_a_subset_as_the_readme_says(environment: Environment, tmp_path: Path) -> None:
    [line] = re.findall(r"pip install -c constraints.txt (\./kernel [^#\n]*)", (ROOT / "README.md").read_text())
    members = [word.removeprefix("./") for word in line.split()]
    python = pip_install(tmp_path / "venv", members)
    assert commands(python, tmp_path) == ["plugins", "worker"]
    rows = json.loads(answer(python, tmp_path, "plugins", "list", "--json"))
    assert {row["distribution"] for row in rows} == {f"bootsteps-{Path(member).name}" for member in members[1:]}
    assert {row["state"] for row in rows} == {"ok"}
