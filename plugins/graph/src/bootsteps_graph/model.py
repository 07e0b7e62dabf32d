"""What is shown, as plain values: one `BootGraph` for each blueprint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ORDER_ONLY", "BootGraph", "Edge", "LeftOut", "Need", "Place", "Step", "nested_in", "reduced"]

#: A step of a blueprint: (blueprint, step), both by name.
Place = tuple[str, str]

#: Kinds of edges that no step needs: they only say who goes first.
ORDER_ONLY = frozenset({"after", "before", "first", "last"})


@dataclass(frozen=True, slots=True)
class Need:
    """One entry of a step's `requires`, `wants`, `after` or `before`."""

    kind: str
    #: `service` or `step`.
    what: str
    name: str
    #: Who satisfies it in this boot, here or in a blueprint around; None = nobody.
    met_by: Place | None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that takes part."""

    #: 1, 2, 3, ... in boot order.
    number: int
    name: str
    #: `module:Class`.
    location: str
    #: Where it was found, for people.
    origin: str
    #: Distribution, version and `group:name`; empty for a step that the application adds.
    dist: str
    version: str
    entry_point: str
    needs: tuple[Need, ...]
    lends: tuple[str, ...]
    #: (name, flags) of each setting that it reads.
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    choice: str | None
    runs: str | None
    first: bool
    last: bool
    independent: bool
    conditional: bool

    @property
    def package(self) -> str:
        """`distribution version`, or where a step without a distribution is written."""
        return f"{self.dist} {self.version}" if self.dist else self.location

    def of_kind(self, *kinds: str) -> list[Need]:
        """Return its needs of these kinds."""
        return [need for need in self.needs if need.kind in kinds]


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """`before` starts before `after`, because of `kind`: requires, wants, after, before, first or last."""

    before: str
    after: str
    kind: str


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A step that is installed and does not take part, and why."""

    name: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class BootGraph:
    """One blueprint as it would boot; steps in boot order, edges and left-out steps sorted."""

    blueprint: str
    steps: tuple[Step, ...]
    edges: tuple[Edge, ...]
    left_out: tuple[LeftOut, ...]
    #: The step that runs this blueprint; None for the outermost.
    host: Place | None = None
    #: What could not be found out without starting anything; empty = nothing.
    note: str = ""


def nested_in(graphs: Iterable[BootGraph], graph: BootGraph) -> dict[str, BootGraph]:
    """Return the blueprints that run inside the steps of `graph`, by the step's name."""
    return {inner.host[1]: inner for inner in graphs if inner.host and inner.host[0] == graph.blueprint}


def reduced(graph: BootGraph) -> list[Edge]:
    """Return the edges without those that longer paths imply.

    A need is only implied by needs: order alone never hides that one step requires another.
    """
    keep: set[Edge] = set()
    kinds: set[str] = set()
    for stronger in ({"requires"}, {"wants"}, ORDER_ONLY):
        kinds |= stronger
        pairs = _reduce([(edge.before, edge.after) for edge in graph.edges if edge.kind in kinds])
        keep |= {edge for edge in graph.edges if edge.kind in stronger and (edge.before, edge.after) in pairs}
    return sorted(keep)


def _reduce(pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
    import networkx as nx

    return set(nx.transitive_reduction(nx.DiGraph(pairs)).edges)
