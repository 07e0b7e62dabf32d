"""The examples work as their READMEs say; a plugin that is not ours stands beside ours on equal terms."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from installing import ROOT, install_into_folder, kernel
from workers import WorkerProcess

EXAMPLES = ROOT / "examples"
PROJ = EXAMPLES / "proj"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which stuck-watch is installed."""
    folder = tmp_path_factory.mktemp("site")
    install_into_folder(EXAMPLES / "stuck-watch", folder)
    return folder


def answer(folder: Path, site: Path, *args: str) -> str:
    done = kernel(folder, *args, path=[site, PROJ])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_foreign_step_is_drawn_in_its_place(tmp_path: Path, site: Path) -> None:
    [worker, _] = json.loads(answer(tmp_path, site, "graph", "-A", "proj", "--format", "json"))["blueprints"]
    [step] = [step for step in worker["steps"] if step["name"] == "StuckWatch"]
    assert step["distribution"] == {"name": "stuck-watch", "version": "0.1.0"}
    assert step["entry_point"] == "worker.steps:StuckWatch"
    assert {need["met_by"]["step"] for need in step["requires"]} == {"Requests", "Timer"}
    assert step["lends"] == ["stuck_watch"]
    order = [step["name"] for step in worker["steps"]]
    assert order.index("Requests") < order.index("StuckWatch") < order.index("Consumer")


def test_a_foreign_distribution_is_listed_with_all_its_parts(tmp_path: Path, site: Path) -> None:
    rows = json.loads(answer(tmp_path, site, "plugins", "list", "--json"))
    found = [(row["group"], row["name"], row["version"], row["state"]) for row in rows]
    assert [row for row, full in zip(found, rows, strict=True) if full["distribution"] == "stuck-watch"] == [
        ("kernel.commands", "stuck-report", "0.1.0", "ok"),
        ("worker.commands", "stuck", "0.1.0", "ok"),
        ("worker.steps", "StuckWatch", "0.1.0", "ok"),
    ]


def test_a_foreign_subcommand_is_in_the_help_and_works(tmp_path: Path, site: Path) -> None:
    assert re.search(r"^  stuck-report +Tell the limit for stuck tasks", answer(tmp_path, site, "--help"), re.M)
    facts = json.loads(answer(tmp_path, site, "-A", "proj", "stuck-report", "--json", "--stuck-after", "5"))
    assert (facts["stuck_after"], facts["source"]) == (5.0, "command line")
    assert {"Requests", "Timer"} <= set(facts["after"])
    text = answer(tmp_path, site, "stuck-report")
    assert text.startswith("a task is stuck after 600 s (default)\nStuckWatch starts ")


def test_a_foreign_option_stands_under_its_distribution(tmp_path: Path, site: Path) -> None:
    text = answer(tmp_path, site, "worker", "--help")
    sections = dict(re.findall(r"^(\S[^\n]*):\n((?:  [^\n]*\n|\n)+)", text + "\n", re.M))
    assert "--stuck-after SECONDS" in sections["stuck-watch"]
    assert "warn about a task" in sections["stuck-watch"]
    assert "[default: 600.0]" in sections["stuck-watch"]
    assert [title for title, body in sections.items() if "--stuck-after" in body] == ["stuck-watch"]


def test_without_it_nothing_of_it_is_left(tmp_path: Path, site: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert "stuck" not in answer(tmp_path, nowhere, "--help")
    assert "stuck" not in answer(tmp_path, nowhere, "worker", "--help")
    assert "stuck" not in answer(tmp_path, nowhere, "graph", "--format", "json")
    [worker, _] = json.loads(answer(tmp_path, site, "graph", "--without", "stuck-watch", "--format", "json"))[
        "blueprints"
    ]
    assert "StuckWatch" not in [step["name"] for step in worker["steps"]]
    [out] = [out for out in worker["left_out"] if out["name"] == "StuckWatch"]
    assert out["reason"] == "--without stuck-watch"


def test_a_dry_run_boots_it(tmp_path: Path, site: Path) -> None:
    text = answer(tmp_path, site, "worker", "-A", "proj", "--dry-run", "-n", "w@h")
    assert re.fullmatch(r"w@h would start: .*\bRequests, StuckWatch, Consumer, ControlSocket\n", text)


def test_it_warns_of_a_stuck_task_in_a_real_worker(tmp_path: Path, site: Path) -> None:
    command = ("-A", "proj", "worker", "-c", "1", "-l", "INFO", "--stuck-after", "0.2")
    worker = WorkerProcess(tmp_path, command=command, path=[site, PROJ])
    try:
        worker.until_logged(" ready.")
        answer(tmp_path, site, "-A", "proj", "call", "proj.nap", "--args", "[60]")
        worker.until_logged("] runs longer than 0.2 s")
        assert re.search(r"WARNING/MainProcess\] proj\.nap\[[-0-9a-f]{36}\] runs longer", worker.log)
    finally:
        worker.kill()


def test_its_own_tests_pass(site: Path) -> None:
    env = dict(os.environ, PYTHONPATH=str(site))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "stuck-watch" / "tests")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9]\d* passed", done.stdout)


# examples/proj: what its README tells one to try.

COMMANDS = re.findall(r"^kernel (.+)$", (PROJ / "README.md").read_text(), re.M)


def test_the_readme_tells_five_commands() -> None:
    assert [re.sub(r"^-A proj ", "", command).split()[0] for command in COMMANDS] == [
        "worker", "call", "call", "graph", "worker",
    ]  # fmt: skip


def test_the_commands_of_the_readme_work(tmp_path: Path) -> None:
    worker = WorkerProcess(tmp_path, command=[*shlex.split(COMMANDS[0]), "-c", "1"], path=[PROJ])
    try:
        worker.until_logged(" ready.")
        answers = [answer(tmp_path, tmp_path, *shlex.split(command)) for command in COMMANDS[1:]]
        assert answers[:2] == ["SUCCESS 5\n", "SUCCESS {'to': 2, 'be': 2, 'or': 1, 'not': 1}\n"]
        assert re.search(r"^\d+ +Tally +Timer +- +proj:Tally$", answers[2], re.M)
        assert "--tally SECONDS" in answers[3]
        assert worker.stop() == 0
        assert "tally: 2 SUCCESS" in worker.log
    finally:
        if worker.process.poll() is None:
            worker.kill()
