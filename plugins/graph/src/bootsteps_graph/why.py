"""Why a step is there, or is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from bootsteps.errors import UnknownName, did_you_mean
from bootsteps_graph.model import ORDER_ONLY, BootGraph, LeftOut, Need, Place, Step

__all__ = ["explain"]

_Links = Mapping[Place, list[Place]]


def explain(graphs: Sequence[BootGraph], name: str, within: Sequence[str] = ()) -> str:
    """Return what is known about the steps called `name` (a step, an entry point or a service), in sentences.

    `within` are the blueprints to look into, none = all. Raises `UnknownName`.
    """
    shown = [graph for graph in graphs if not within or graph.blueprint in within]
    steps = [(graph, step) for graph in shown for step in graph.steps if _answers(step, name)]
    gone = [(graph, out) for graph in shown for out in graph.left_out if out.name.lower() == name.lower()]
    if not steps and not gone:
        known = [known for graph in shown for step in graph.steps for known in (step.name, *step.lends)]
        known += [out.name for graph in shown for out in graph.left_out]
        near = did_you_mean(name, known) or "kernel graph lists the steps, kernel plugins list all that is installed"
        raise UnknownName(f"no step is called {name!r}, and none that is left out", (f"--why {name}",), near)
    parts = ["\n".join(_present(graphs, graph, step)) for graph, step in steps]
    parts += ["\n".join(_absent(graphs, graph, out)) for graph, out in gone]
    return "\n\n".join(parts)


def _answers(step: Step, name: str) -> bool:
    names = (step.name, step.entry_point.partition(":")[2], step.location, *step.lends)
    return name.lower() in (known.lower() for known in names if known)


def _present(graphs: Sequence[BootGraph], graph: BootGraph, step: Step) -> Iterator[str]:
    here = (graph.blueprint, step.name)
    yield f"{step.name} is step {step.number} of {len(graph.steps)} of the {graph.blueprint}"
    yield f"  from         {step.origin}"
    yield f"  class        {step.location}"
    if step.choice:
        yield f"  chosen       as {step.choice!r} among those that lend {', '.join(step.lends)}"
    if step.lends:
        yield f"  lends        {', '.join(step.lends)}"
    if step.runs:
        yield f"  runs         the {step.runs} blueprint"
    yield from _section("requires", [f"{need.name}: {_who(need, graph)}" for need in step.of_kind("requires")])
    others = step.of_kind("wants", "after", "before")
    yield from _section("order", [*_ties(step), *(f"{need.kind} {need.name}: {_who(need, graph)}" for need in others)])
    users = [(one, user, need) for one in graphs for user in one.steps for need in user.needs if need.met_by == here]
    for word, kind in (("required by", "requires"), ("wanted by", "wants")):
        told = [
            f"{_spell((one.blueprint, user.name), graph)} ({need.name})"
            for one, user, need in users
            if need.kind == kind
        ]
        yield from _section(word, told)
    yield from _section(
        "needs in all", [" → ".join(_spell(place, graph) for place in path) for path in _paths(_lenders(graphs), here)]
    )
    yield from _without(graphs, graph, here)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"  {title if number == 0 else '':<12} {line}"


def _ties(step: Step) -> Iterator[str]:
    if step.first:
        yield "first: all others start after it, and restart with it, but the independent"
    if step.last:
        yield "last: it starts after every step that does not need it"
    if step.independent:
        yield "independent: it is not tied to the first step"


def _who(need: Need, graph: BootGraph) -> str:
    if need.met_by is None:
        return "nobody here" if need.kind != "requires" else "unknown before run time"
    return f"{_spell(need.met_by, graph)}"


def _spell(place: Place, graph: BootGraph) -> str:
    return place[1] if place[0] == graph.blueprint else f"{place[1]} of the {place[0]}"


def _lenders(graphs: Sequence[BootGraph]) -> _Links:
    """Return what each step cannot do without: what it requires, and the step that runs its blueprint."""
    links = defaultdict[Place, list[Place]](list)
    for graph in graphs:
        for step in graph.steps:
            here = (graph.blueprint, step.name)
            links[here] += sorted({need.met_by for need in step.of_kind("requires") if need.met_by})
            links[here] += [graph.host] if graph.host and graph.host not in links[here] else []
    return links


def _paths(links: _Links, start: Place) -> Iterator[list[Place]]:
    """Yield the shortest path to everything that can be reached, near ones first."""
    todo, seen = [[start]], {start}
    for path in todo:  # grows while it is walked
        for place in links.get(path[-1], ()):
            if place not in seen:
                seen.add(place)
                todo.append([*path, place])
                yield todo[-1]


def _without(graphs: Sequence[BootGraph], graph: BootGraph, here: Place) -> Iterator[str]:
    """Say what a boot without the step would be like."""
    dependants = defaultdict[Place, list[Place]](list)
    for user, lenders in _lenders(graphs).items():
        for lender in lenders:
            dependants[lender].append(user)
    steps = {(one.blueprint, step.name): step for one in graphs for step in one.steps}
    lost = [path[-1] for path in _paths(dependants, here)]
    go = [place for place in lost if steps[place].conditional]
    refuse = [place for place in lost if place not in go]
    if refuse:
        names = ", ".join(_spell(place, graph) for place in refuse)
        yield f"  without it   nothing boots: {names} could not start"
    if go:
        yield f"  without it   left out too, as they are conditional: {', '.join(_spell(place, graph) for place in go)}"
    if not lost:
        yield "  without it   everything else boots: no step requires it"
    behind = sorted({edge.after for edge in graph.edges if edge.before == here[1] and edge.kind in ORDER_ONLY})
    if behind:
        yield f"  goes before  {', '.join(behind)} (order only)"


def _absent(graphs: Sequence[BootGraph], graph: BootGraph, out: LeftOut) -> Iterator[str]:
    yield f"{out.name} is left out of the {graph.blueprint}: {out.reason}"
    yield f"  from         {out.origin}"
    missing = [(step, need) for one in graphs for step in one.steps for need in step.needs if need.met_by is None]
    users = [f"{step.name} {need.kind} it" for step, need in missing if need.name.lower() == out.name.lower()]
    yield from _section("missed by", users)
