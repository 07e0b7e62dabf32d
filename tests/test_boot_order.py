"""The same composition boots in the same order: on every host, with every hash seed, in every order of `sys.path`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from bootsteps import Catalogue, compose, scan
from bootsteps_tasks import App

ROOT = Path(__file__).resolve().parent.parent
STANDARD = tomllib.loads((ROOT / "plugins/standard/pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_the_boot_order_of_the_standard_set(pool: str) -> None:
    members = {re.split(r"[<>=~\[; ]", requirement)[0] for requirement in STANDARD}
    plan = compose(App("proj", worker_pool=pool), Catalogue(plugin for plugin in scan() if plugin.dist in members))
    assert [step.name for step in plan.order] == [
        "Daemon", "Pidfile", "Logging", "MemorySamples", "Revokes", "Runner", "Timer", "Beat", "Hub", "Signals",
        "Debugger", "Restart", "Pool", "Autoreloader", "Health", "Requests", "Autoscaler", "StateDB", "Systemd",
        "Consumer", "ControlSocket",
    ]  # fmt: skip
    assert [step.name for step in plan.nested["Consumer"].order] == [
        "Connection", "Agent", "Events", "Gossip", "Heart", "Mingle", "Control", "Revocations", "Tasks", "Readiness",
        "event loop",
    ]  # fmt: skip


SEEDS = range(20)
#: Runs `kernel ARGS` with the entries of sys.path in another order. Empty ones stay out: they mean the current folder.
SHUFFLED = """
import random, sys
sys.path = [entry for entry in sys.path if entry]
random.Random({seed}).shuffle(sys.path)
from bootsteps.cli import main
main(sys.argv[1:])
"""
#: Adds steps through a set, whose requirements are a set, too, as the guide writes them.
PROJ = """
import bootsteps
from bootsteps_tasks import App
app = App("proj")
for number in range(12):
    needs = {"Timer", "Hub", f"Made{number}"} if number % 2 else {bootsteps.TIMER, bootsteps.HUB}
    app.steps["worker"].add(type(f"Own{number}", (bootsteps.Step,), {"requires": needs, "__module__": __name__}))
    app.steps["consumer"].add(type(f"Inner{number}", (bootsteps.Step,), {"requires": ("Connection",)}))
"""


def install_strangers(folder: Path) -> list[Path]:
    """Make a dozen distributions, each in a folder of its own: one step, which wants its neighbours."""
    sites = []
    for number in range(12):
        site = folder / f"site-{number}"
        info = site / f"made_{number}-1.{number}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-{number}\nVersion: 1.{number}\n")
        (info / "entry_points.txt").write_text(f"[worker.steps]\nMade{number} = made_{number}:Made\n")
        code = f"""
            from bootsteps import HUB, ServiceKey, Setting, Step
            class Made(Step):
                provides = (ServiceKey("made{number}"),)
                wants = {{HUB, ServiceKey("made{number - 1}"), "Made{number - 2}"}}
                settings = (Setting("made_{number}", int, {number}),)
        """
        (site / f"made_{number}.py").write_text(textwrap.dedent(code))
        sites.append(site)
    return sites


def test_the_graph_is_byte_identical_over_hash_seeds_and_orders_of_the_path(tmp_path: Path) -> None:
    pytest.importorskip("bootsteps_graph")
    (tmp_path / "proj.py").write_text(PROJ)
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, [tmp_path, *install_strangers(tmp_path)])))
    answers = set()
    for seed in SEEDS:
        command = [sys.executable, "-c", SHUFFLED.format(seed=seed), "graph", "-A", "proj", "--format", "json"]
        env["PYTHONHASHSEED"] = str(seed * 211)
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        answers.add(done.stdout)
    assert len(answers) == 1
    worker, consumer = json.loads(answers.pop())["blueprints"]
    names = {step["name"] for step in (*worker["steps"], *consumer["steps"])}
    assert {"Own11", "Inner11", "Made11", "Pool", "Tasks"} <= names
