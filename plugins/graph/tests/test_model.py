"""Which edges are drawn, and that long graphs are no trouble."""

from __future__ import annotations

from bootsteps_graph.model import BootGraph, Edge, Step, reduced
from bootsteps_graph.tree import tree


def graph(*edges: tuple[str, str, str]) -> BootGraph:
    names = dict.fromkeys(name for before, after, _ in edges for name in (before, after))
    steps = [
        Step(number, name, "m:C", "", "", "", "", (), (), (), None, None, False, False, False, False)
        for number, name in enumerate(names, 1)
    ]
    return BootGraph("worker", tuple(steps), tuple(sorted(Edge(*edge) for edge in edges)), ())


def drawn(*edges: tuple[str, str, str]) -> list[tuple[str, str]]:
    return [(edge.before, edge.after) for edge in reduced(graph(*edges))]


def test_an_edge_that_a_longer_path_implies_is_not_drawn() -> None:
    chain = [("A", "B", "requires"), ("B", "C", "requires")]
    for kind in ("requires", "wants", "after"):
        assert drawn(*chain, ("A", "C", kind)) == [("A", "B"), ("B", "C")]


def test_order_alone_never_hides_a_need() -> None:
    every = [("A", "B"), ("A", "C"), ("B", "C")]
    assert drawn(("A", "B", "after"), ("B", "C", "requires"), ("A", "C", "requires")) == every
    assert drawn(("A", "B", "requires"), ("B", "C", "wants"), ("A", "C", "requires")) == every
    assert drawn(("A", "B", "requires"), ("B", "C", "last"), ("A", "C", "wants")) == every


def test_a_tree_may_be_deeper_than_the_stack() -> None:
    lines = tree([graph(*((f"S{i}", f"S{i + 1}", "requires") for i in range(1100)))]).splitlines()
    assert len(lines) == 1102
    assert lines[-1].strip().startswith("└─ 1101 S1100")
