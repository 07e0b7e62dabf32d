"""`kernel graph` as its users see it."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootsteps import BootError, KernelError

Graph = Any
Install = Any


def failure(result: Any) -> str:
    """The message of a mistake, which ends with status 2 and without a traceback."""
    assert isinstance(result.exception, KernelError), result.output
    assert result.exception.exit_status == 2
    assert result.stdout == ""
    return str(result.exception)


def rows(text: str) -> dict[str, list[str]]:
    """The cells of a table by name, which stands in the second column."""
    cells = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line)
    return {row[1]: row for row in cells if len(row) > 1}


def test_the_table_has_a_line_for_each_step_in_boot_order(acme: Graph) -> None:
    result = acme("-P", "solo")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout.split("\n\n")[0])
    assert list(table) == ["STEP", "Hub", "Pool", "Watch", "Consumer", "Connection", "Tasks"]
    assert table["Hub"] == ["1", "Hub", "-", "hub", "acme-hub 1.5"]
    assert table["Pool"] == ["2", "Pool", "hub", "pool", "acme-pools 1.5 (SoloPool)"]
    assert table["Watch"][2] == "wants Beat (absent), Pool; after hub"
    assert table["Consumer"][:3] == ["4", "Consumer", "hub; last"]
    assert table["Tasks"][:3] == ["4.2", "Tasks", "connection, pool"]
    assert "stuck_after  --stuck-after  Watch" in result.stdout


def test_what_is_left_out_is_told_with_its_reason(acme: Graph, install: Install) -> None:
    text = """
from bootsteps import App, Step
app = App("proj")
class Beat(Step): enabled = False
class Follower(Step):
    requires = ("Beat",); conditional = True
class Own(Step): pass
app.steps["worker"].update([Beat, Follower, Own])
"""
    install("acme-broken", {"worker.steps": {"Broken": "no_such_module:X"}}, {"proj": text})
    result = acme(
        "-A", "proj", "-P", "threads", "--without", "Watch", "--without", "Own", "--on-plugin-error", "quarantine"
    )
    assert result.exit_code == 0, result.output
    out = {name: line for line in result.stdout.split("LEFT OUT")[1].splitlines()[1:] for name in line.split()[:1]}
    assert "its include_if says no" in out["Beat"]
    assert "it requires 'Beat', which is left out" in out["Follower"]
    assert "--without Watch" in out["Watch"]
    assert "worker.steps:Watch (acme-watch 1.5)" in out["Watch"]
    assert "--without Own" in out["Own"]
    assert "app.steps['worker']: proj:Own" in out["Own"]
    assert "quarantined" in out["Broken"]
    assert "chosen is 'threads'" in out["Pool"]
    for form in ("tree", "mermaid", "dot", "svg", "json"):
        shown = acme(
            "-A", "proj", "-P", "threads", "--without", "Watch", "--on-plugin-error", "quarantine", "--format", form
        )
        assert "its include_if says no" in shown.stdout, form


def test_one_blueprint_can_be_shown(acme: Graph) -> None:
    table = rows(acme("-P", "solo", "--blueprint", "consumer").stdout)
    assert table["Tasks"][:3] == ["2", "Tasks", "connection, pool"]
    assert "Hub" not in table
    assert "Tasks" not in acme("-P", "solo", "--blueprint", "worker").stdout


def test_the_json_is_documented_and_complete(acme: Graph) -> None:
    document = json.loads(acme("-P", "solo", "--format", "json").stdout)
    assert document["schema"] == 1
    worker, consumer = document["blueprints"]
    assert (worker["name"], worker["host"]) == ("worker", None)
    assert consumer["host"] == {"blueprint": "worker", "step": "Consumer"}
    pool = worker["steps"][1]
    assert pool["distribution"] == {"name": "acme-pools", "version": "1.5"}
    assert (pool["entry_point"], pool["class"], pool["order"]) == ("worker.steps:SoloPool", "acme:Solo", 2)
    assert pool["requires"] == [{"type": "service", "name": "hub", "met_by": {"blueprint": "worker", "step": "Hub"}}]
    assert {"from": "Pool", "to": "Consumer", "kind": "requires"} in worker["edges"]  # since Tasks needs it
    assert consumer["steps"][1]["requires"][1]["met_by"] == {"blueprint": "worker", "step": "Pool"}
    assert [setting["name"] for setting in worker["steps"][2]["settings"]] == ["stuck_after"]


SCRIPT = """
import json, sys
import bootsteps.cli.session as session
from bootsteps import scan
from bootsteps_graph.cli import graph
folders = json.loads(sys.argv[1])
sys.path[:0] = folders
session.scan_once = lambda: scan(folders)
graph.main(["-P", "solo", "--format", "json"], obj=session.Session())
"""


def test_the_json_is_the_same_for_every_hash_seed_and_order_of_sys_path(
    acme: Graph, site: Path, tmp_path: Path
) -> None:
    folders = [site]
    for info in sorted(site.glob("*.dist-info")):  # every distribution in a folder of its own
        folders.append(tmp_path / info.name.partition("-")[0])
        folders[-1].mkdir()
        info.rename(folders[-1] / info.name)
    answers = set()
    for seed in range(20):
        shuffled = random.Random(seed).sample([str(folder) for folder in folders], len(folders))
        environment = os.environ | {"PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-c", SCRIPT, json.dumps(shuffled)]
        answers.add(subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60).stdout)
    assert len(answers) == 1
    assert len(json.loads(answers.pop())["blueprints"][0]["steps"]) == 4


def test_what_a_third_party_prints_does_not_spoil_the_answer(acme: Graph, install: Install) -> None:
    text = """
from bootsteps import App, Step
print("imported")
app = App("proj")
class Chatty(Step):
    def __init__(self, parent, **options): print("made")
    def include_if(self, parent): print("asked"); return True
app.steps["consumer"].add(Chatty)
"""
    install("acme-chatty", {}, {"proj": text})
    result = acme("-A", "proj", "-P", "solo", "--format", "json")
    assert json.loads(result.stdout)["schema"] == 1
    assert result.stderr.split() == ["imported", "made", "asked"]
    assert "--stuck-after" in acme("-A", "proj", "--help").stdout


def test_a_nested_step_that_needs_a_running_worker_breaks_nothing(acme: Graph, install: Install) -> None:
    text = """
from bootsteps import App, Step, ServiceKey
app = App("proj")
class Curious(Step):
    requires = (ServiceKey("pool"),)
    def include_if(self, consumer): return consumer.controller.pool.concurrency > 1
app.steps["consumer"].add(Curious)
"""
    install("acme-curious", {}, {"proj": text})
    result = acme("-A", "proj", "-P", "solo")
    assert result.exit_code == 0, result.output
    assert "Curious" in rows(result.stdout)
    assert "note: consumer: which steps take part is only known at run time" in result.stdout
    assert json.loads(acme("-A", "proj", "-P", "solo", "--format", "json").stdout)["blueprints"][1]["note"]


def test_the_line_of_a_worker_works_with_graph_in_its_place(acme: Graph) -> None:
    assert acme("-P", "solo", "-n", "w1@%h", "--stuck-after", "3").exit_code == 0


def test_the_tree_puts_each_step_beneath_what_it_needs(acme: Graph) -> None:
    lines = acme("-P", "solo", "--format", "tree").stdout.splitlines()
    assert lines[0] == "worker"
    assert lines[1] == "└─ 1 Hub  [acme-hub 1.5]"
    assert lines[2] == "   └─ 2 Pool  [acme-pools 1.5]"
    assert any(line.strip(" │├└─═") == "consumer" for line in lines)
    assert sum("Tasks" in line for line in lines) == 1


def test_mermaid_and_dot_show_both_blueprints_and_how_edges_differ(acme: Graph) -> None:
    mermaid = acme("-P", "solo", "--format", "mermaid").stdout
    assert mermaid.count("subgraph") == mermaid.count("  end\n") == 2
    assert "s_worker_2e_Hub --> s_worker_2e_Pool" in mermaid
    assert "s_worker_2e_Pool -.-> s_worker_2e_Watch" in mermaid
    assert "s_worker_2e_Watch -. last .-> s_worker_2e_Consumer" in mermaid
    assert "s_worker_2e_Hub --> s_worker_2e_Consumer" not in mermaid  # Hub -> Pool -> Consumer says it
    dot = acme("-P", "solo", "--format", "dot").stdout
    assert dot.count("{") == dot.count("}") == 3
    assert '"worker.Pool" -> "worker.Watch" [style=dashed' in dot
    assert '"worker.Watch" -> "worker.Consumer" [style=dotted' in dot


def test_why_tells_of_needs_users_and_what_a_step_is_for(acme: Graph) -> None:
    text = acme("-P", "solo", "--why", "pool").stdout
    assert "Pool is step 2 of 4 of the worker" in text
    assert "worker.steps:SoloPool (acme-pools 1.5)" in text
    assert "requires     hub: Hub" in text
    assert "required by  Tasks of the consumer (pool)" in text
    assert "wanted by    Watch (Pool)" in text
    assert "without it   nothing boots: Tasks of the consumer could not start" in text
    assert "Pool is left out of the worker: chosen is 'solo'" in text
    assert "needs in all Tasks → Connection" in acme("-P", "solo", "--why", "Tasks").stdout
    assert "Tasks → Pool of the worker → Hub" not in acme("-P", "solo", "--why", "Tasks").stdout.replace(
        " of the worker", "", 9
    )
    assert "without it   everything else boots" in acme("-P", "solo", "--why", "Watch").stdout


def test_why_of_an_unknown_step_names_a_near_one(acme: Graph) -> None:
    assert "did you mean 'Watch'?" in failure(acme("-P", "solo", "--why", "Wotch"))


def test_mistakes_are_told_in_three_parts(acme: Graph, tmp_path: Path) -> None:
    assert "did you mean 'consumer'?" in failure(acme("-P", "solo", "--blueprint", "konsumer"))
    assert "--format" in failure(acme("-P", "solo", "-o", str(tmp_path / "boot.bmp")))
    assert "cannot write" in failure(acme("-P", "solo", "-o", str(tmp_path / "nowhere" / "boot.svg")))
    assert "plain text" in failure(acme("-P", "solo", "--why", "Hub", "--format", "json"))
    assert "there is no module" in failure(acme("-A", "no_such_app"))


def test_a_composition_with_faults_is_refused_as_by_the_worker(acme: Graph) -> None:
    result = acme()
    assert isinstance(result.exception, BootError)
    assert "worker_pool chooses neither" in failure(result)
    assert "requires the service 'hub'" in failure(acme("-P", "solo", "--without", "Hub"))


def test_without_a_step_it_says_what_to_install(install: Install, kernel_graph: Graph) -> None:
    install("acme-empty", {})
    assert "pip install bootsteps-standard" in failure(kernel_graph())


def test_when_all_is_switched_off_it_says_so(install: Install, kernel_graph: Graph) -> None:
    install("acme-one", {"worker.steps": {"One": "acme_one:One"}}, {"acme_one": "class One: pass"})
    message = failure(kernel_graph("--without", "One"))
    assert "every step of the worker is left out" in message
    assert "worker.steps:One (acme-one 1.5): --without One" in message


@pytest.mark.parametrize(
    ("ending", "begin"), [("svg", b"<svg"), ("dot", b"digraph"), ("mmd", b"flowchart"), ("json", b"{"), ("txt", b"#")]
)
def test_the_ending_of_the_file_chooses_the_format(acme: Graph, tmp_path: Path, ending: str, begin: bytes) -> None:
    file = tmp_path / f"boot.{ending}"
    result = acme("-P", "solo", "-o", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_bytes().startswith(begin)


def test_a_narrow_terminal_gets_broken_cells_and_no_lost_words() -> None:
    from bootsteps_graph.table import _aligned

    row = (
        "1",
        "Tasks",
        "connection, hub, pool, requests, settlement, timer",
        "qos, strategies, task_consumer",
        "some-dist 1.0",
    )
    text = _aligned([("#", "STEP", "NEEDS", "LENDS", "FROM"), row], 80)
    assert max(map(len, text.splitlines())) <= 80
    assert sorted(text.split()) == sorted(" ".join(("#", "STEP", "NEEDS", "LENDS", "FROM", *row)).split())
