"""The tree: each step beneath the last one that it needs, with the others that it waits for behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bootsteps_graph.model import ORDER_ONLY, BootGraph, Step, nested_in, reduced

__all__ = ["tree"]

# networkx's own text rendering repeats whole labels for every further parent, and knows no nested blueprint.


def tree(graphs: Sequence[BootGraph]) -> str:
    """Return the steps as a tree; numbers are the boot order."""
    names = {graph.blueprint for graph in graphs}
    lines: list[str] = []
    for graph in [graph for graph in graphs if graph.host is None or graph.host[0] not in names]:
        lines += [graph.blueprint, *_blueprint(graphs, graph, "")]
    out = [f"  {shown.blueprint}: {out.name}: {out.reason}" for shown in graphs for out in shown.left_out]
    notes = [f"note: {shown.blueprint}: {shown.note}" for shown in graphs if shown.note]
    return "\n".join([*lines, *(["", "left out"] if out else []), *out, *notes])


def _blueprint(graphs: Sequence[BootGraph], graph: BootGraph, indent: str) -> Iterator[str]:
    number = {step.name: step.number for step in graph.steps}
    waits, kinds = defaultdict[str, list[str]](list), {}
    for edge in reduced(graph):
        waits[edge.after].append(edge.before)
        kinds[edge.before, edge.after] = edge.kind
    last = {
        name: max(others, key=lambda other: (kinds[other, name] not in ORDER_ONLY, number[other]))
        for name, others in waits.items()
    }
    beneath = defaultdict[str, list[Step]](list)
    for step in graph.steps:
        beneath[last.get(step.name, "")].append(step)
    inside = nested_in(graphs, graph)

    def branch(parent: str, indent: str, after_that: bool) -> Iterator[str]:
        for step in beneath[parent]:
            end = step is beneath[parent][-1] and not after_that
            kind = kinds.get((parent, step.name), "requires")
            others = sorted(set(waits[step.name]) - {parent}, key=number.__getitem__)
            also = f"  + {', '.join(others)}" if others else ""
            how = "" if kind == "requires" else f" ({kind})"
            yield f"{indent}{'└─ ' if end else '├─ '}{step.number} {step.name}{how}{also}  [{step.package}]"
            below = indent + ("   " if end else "│  ")
            inner = inside.get(step.name)
            if inner:
                rest = bool(beneath[step.name])
                yield f"{below}{'├' if rest else '└'}═ {inner.blueprint}"
                yield from _blueprint(graphs, inner, below + ("│  " if rest else "   "))
            yield from branch(step.name, below, False)

    yield from branch("", indent, False)
