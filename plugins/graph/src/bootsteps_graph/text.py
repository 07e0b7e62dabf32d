"""Graphs as text for other programs: Mermaid, DOT and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from bootsteps_graph.model import ORDER_ONLY, BootGraph, Edge, Need, Place, Step, nested_in, reduced

__all__ = ["SCHEMA", "as_json", "dot", "mermaid"]

#: Raised when a field of the JSON changes its meaning or goes; new fields do not raise it.
SCHEMA = 1


def as_json(graphs: Sequence[BootGraph]) -> str:
    """Return all that is known, in an order that depends on nothing but the composition. See docs/graph.md."""
    document = {"schema": SCHEMA, "blueprints": [_blueprint(graph) for graph in graphs]}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)


def _blueprint(graph: BootGraph) -> dict[str, Any]:
    return {
        "name": graph.blueprint,
        "host": _place(graph.host),
        "note": graph.note or None,
        "steps": [_step(step) for step in graph.steps],
        "edges": [{"from": edge.before, "to": edge.after, "kind": edge.kind} for edge in graph.edges],
        "left_out": [{"name": out.name, "origin": out.origin, "reason": out.reason} for out in graph.left_out],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "order": step.number,
        "name": step.name,
        "class": step.location,
        "origin": step.origin,
        "distribution": {"name": step.dist, "version": step.version} if step.dist else None,
        "entry_point": step.entry_point or None,
        "lends": list(step.lends),
        "settings": [{"name": name, "options": list(flags)} for name, flags in step.settings],
        "choice": step.choice,
        "runs": step.runs,
        "first": step.first,
        "last": step.last,
        "independent": step.independent,
        "conditional": step.conditional,
        **{kind: [_need(need) for need in step.of_kind(kind)] for kind in ("requires", "wants", "after", "before")},
    }


def _need(need: Need) -> dict[str, Any]:
    return {"type": need.what, "name": need.name, "met_by": _place(need.met_by)}


def _place(place: Place | None) -> dict[str, str] | None:
    return {"blueprint": place[0], "step": place[1]} if place else None


def mermaid(graphs: Sequence[BootGraph]) -> str:
    """Return a Mermaid flowchart; a nested blueprint is a subgraph beside its host."""
    lines = ["flowchart TD"]
    for graph in graphs:
        lines.append(f'  subgraph {_id("blueprint", graph.blueprint)}["{_entities(graph.blueprint)}"]')
        lines += [f'    {_id(graph.blueprint, step.name)}["{_mermaid_label(step)}"]' for step in graph.steps]
        lines += [f"    {line}" for line in _mermaid_left_out(graph)]
        lines += ["  end"]
        for edge in reduced(graph):
            arrow = {"requires": "-->", "wants": "-.->"}.get(edge.kind, f"-. {edge.kind} .->")
            lines.append(f"  {_id(graph.blueprint, edge.before)} {arrow} {_id(graph.blueprint, edge.after)}")
        if graph.host:
            lines.append(f"  {_id(*graph.host)} == runs ==> {_id('blueprint', graph.blueprint)}")
    if any(graph.left_out for graph in graphs):
        lines.append("  classDef leftout fill:#eeeeee,stroke:#aaaaaa,color:#777777,stroke-dasharray:3 3")
    return "\n".join(lines)


def _mermaid_label(step: Step) -> str:
    lends = f"<br/>lends {_entities(', '.join(step.lends))}" if step.lends else ""
    return f"{step.number} <b>{_entities(step.name)}</b><br/><small>{_entities(step.package)}</small>{lends}"


def _mermaid_left_out(graph: BootGraph) -> Iterator[str]:
    for number, out in enumerate(graph.left_out):
        name = _id(f"{graph.blueprint}-out{number}", out.name)
        yield f'{name}["{_entities(out.name)}<br/><small>{_entities(out.reason)}</small>"]:::leftout'


def _id(blueprint: str, name: str) -> str:
    """A word that Mermaid takes for no keyword, different for different names."""
    letters = (c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in f"{blueprint}.{name}")
    return "s_" + "".join(letters)


def _entities(text: str) -> str:
    """Mermaid's own escapes: `#` and a number."""
    return "".join(f"#{ord(c)};" if c in '"#<>&[]{}`\\' or c == "\n" else c for c in text)


def dot(graphs: Sequence[BootGraph]) -> str:
    """Return Graphviz's language, with a cluster for each blueprint; a nested one lies inside the one around it."""
    lines = [
        "digraph boot {",
        "  compound=true; rankdir=TB;",
        '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", fontname="Helvetica"];',
        '  edge [color="#555555"];',
        *(line for graph in graphs if _is_outermost(graphs, graph) for line in _cluster(graphs, graph, "  ")),
    ]
    for graph in graphs:
        lines += [f"  {_dot_edge(graph.blueprint, edge)}" for edge in reduced(graph)]
        if graph.host and graph.steps and not _is_outermost(graphs, graph):
            head = f"lhead={_quoted('cluster_' + graph.blueprint)}"
            inner = _quoted(f"{graph.blueprint}.{graph.steps[0].name}")
            lines.append(f'  {_quoted(".".join(graph.host))} -> {inner} [style=bold, label="runs", {head}];')
    return "\n".join([*lines, "}"])


def _is_outermost(graphs: Sequence[BootGraph], graph: BootGraph) -> bool:
    return graph.host is None or all(other.blueprint != graph.host[0] for other in graphs)


def _cluster(graphs: Sequence[BootGraph], graph: BootGraph, indent: str) -> Iterator[str]:
    yield f"{indent}subgraph {_quoted('cluster_' + graph.blueprint)} {{"
    yield f"{indent}  label={_quoted(graph.blueprint)};"
    for step in graph.steps:
        label = "\n".join([f"{step.number} {step.name}", step.package, *(f"lends {name}" for name in step.lends)])
        yield f"{indent}  {_quoted(f'{graph.blueprint}.{step.name}')} [label={_quoted(label)}];"
    for number, out in enumerate(graph.left_out):
        label = _quoted(f"{out.name}\n{out.reason}")
        grey = 'style="rounded,dashed", color="#aaaaaa", fontcolor="#888888"'
        yield f"{indent}  {_quoted(f'{graph.blueprint}.out{number}.{out.name}')} [label={label}, {grey}];"
    for inner in nested_in(graphs, graph).values():
        yield from _cluster(graphs, inner, indent + "  ")
    yield indent + "}"


def _dot_edge(blueprint: str, edge: Edge) -> str:
    style = {"requires": "solid", "wants": "dashed"}.get(edge.kind, "dotted")
    grey = ', color="#999999"' if edge.kind in ORDER_ONLY else ""
    ends = f"{_quoted(f'{blueprint}.{edge.before}')} -> {_quoted(f'{blueprint}.{edge.after}')}"
    return f"{ends} [style={style}, tooltip={_quoted(edge.kind)}{grey}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
