"""The tree: each step beneath the last one that it needs, with the others that it waits for behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

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
    for others in waits.values():
        others.sort(key=number.__getitem__)
    last = {
        name: max(others, key=lambda other: _rank(kinds[other, name], number[other])) for name, others in waits.items()
    }
    beneath = defaultdict[str, list[Step]](list)
    for step in graph.steps:
        beneath[last.get(step.name, "")].append(step)
    inside = nested_in(graphs, graph)
    todo = [(step, indent, step is beneath[""][-1]) for step in reversed(beneath[""])]
    while todo:  # no recursion: a chain may be longer than Python's stack
        step, margin, end = todo.pop()
        yield f"{margin}{'└─ ' if end else '├─ '}{_label(step, last.get(step.name), waits[step.name], kinds)}"
        below, children = margin + ("   " if end else "│  "), beneath[step.name]
        if step.name in inside:
            inner = inside[step.name]
            yield f"{below}{'├' if children else '└'}═ {inner.blueprint}"
            yield from _blueprint(graphs, inner, below + ("│  " if children else "   "))
        todo += [(child, below, child is children[-1]) for child in reversed(children)]


def _rank(kind: str, number: int) -> tuple[bool, bool, int]:
    """What is required counts for more than what is wanted, and that for more than order; then the later one."""
    return kind == "requires", kind not in ORDER_ONLY, number


def _label(step: Step, above: str | None, waits: Sequence[str], kinds: Mapping[tuple[str, str], str]) -> str:
    """Name the step, why it stands beneath the one above, for which others it waits, and its distribution."""
    kind = kinds[above, step.name] if above else "requires"
    others = [other for other in waits if other != above and kinds[other, step.name] != "last"]
    words = [*([] if kind in ("requires", "last") else [kind]), *(["last"] if step.last else [])]
    how = f" ({', '.join(words)})" if words else ""
    also = f"  + {', '.join(others)}" if others else ""
    return f"{step.number} {step.name}{how}{also}  [{step.package}]"
