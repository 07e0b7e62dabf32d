"""The graph behind a boot: its order is networkx's, without importing networkx."""

from __future__ import annotations

import random
import subprocess
import sys

import networkx as nx
import pytest

from bootsteps.dag import Dag


def drawn(*edges: tuple[str, str, str], names: str = "ABCDEF") -> Dag:
    dag = Dag(names)
    for here, there, kind in edges:
        dag.tie(here, there, kind)
    return dag


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_the_one_that_networkx_finds(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"step{number}" for number in rng.sample(range(1000), 60)]
    dag = Dag(names)
    for there in range(1, len(names)):
        for here in rng.sample(range(there), min(there, rng.randrange(4))):
            dag.tie(names[here], names[there], rng.choice(["requires", "after"]))
    graph = dag.graph()
    assert dag.order() == list(nx.lexicographical_topological_sort(graph))
    for name in names:
        assert (dag.ahead_of(name), dag.behind(name)) == (nx.ancestors(graph, name), nx.descendants(graph, name))


def test_what_waits_for_a_cycle_is_not_in_the_order() -> None:
    dag = drawn(("A", "B", "after"), ("B", "C", "after"), ("C", "B", "after"), ("C", "D", "after"))
    assert dag.order() == ["A", "E", "F"]


def test_an_edge_keeps_the_stronger_of_two_reasons() -> None:
    dag = drawn(("A", "B", "after"), ("A", "B", "requires"), ("A", "B", "last"))
    assert dict(dag.graph().edges["A", "B"]) == {"kind": "requires"}


def test_some_kinds_of_edges_can_be_followed_alone() -> None:
    dag = drawn(("A", "B", "requires"), ("B", "C", "after"), ("B", "D", "wants"), ("C", "E", "requires"))
    assert dag.behind("A", kinds={"requires", "wants"}) == {"B", "D"}
    assert dag.behind("A", "C", kinds={"requires"}) == {"B", "E"}


def test_a_boot_does_not_import_networkx() -> None:
    code = (
        "import sys\nfrom bootsteps import App, Catalogue, Parent, Step, compose\n"
        "app = App()\napp.steps['worker'].add(type('A', (Step,), {}))\n"
        "app.steps['worker'].add(type('B', (Step,), {'requires': ('A',), 'last': True}))\n"
        "plan = compose(app, Catalogue(()))\n"
        "assert [c.name for c in plan.order] == ['A', 'B'] and plan.dag.behind('A') == {'B'}\n"
        "assert 'networkx' not in sys.modules\nplan.graph\nassert 'networkx' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
