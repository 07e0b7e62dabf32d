"""The graph of one blueprint while it is made, ordered and restarted: names, and why one starts after another.

It is plain dictionaries, since a worker needs no more of it to boot, and importing networkx takes as long as all else
that a boot does. Who looks at the graph (`Plan.graph`, `kernel graph`, the search for a cycle) gets it as a
`networkx.DiGraph`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["KINDS", "NEEDS", "Dag"]

#: Why an edge is there. Of two reasons the one that comes first is told: a need also decides what restarts with what.
KINDS = ("requires", "first", "wants", "after", "before", "last")
#: The kinds of edges along which a restart spreads; the others are order alone.
NEEDS = frozenset({"requires", "wants", "first"})


class Dag:
    """Steps by name, with an edge from each to those that start after it."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        #: For each step those that start after it, and why.
        self.after: dict[str, dict[str, str]] = {name: {} for name in names}
        #: For each step those that start before it.
        self.before: dict[str, set[str]] = {name: set() for name in self.after}

    def tie(self, here: str, there: str, kind: str) -> None:
        """Draw an edge, or give the one that is there the stronger of two reasons."""
        earlier = self.after[here].get(there, kind)
        self.after[here][there] = min(kind, earlier, key=KINDS.index)
        self.before[there].add(here)

    def order(self) -> list[str]:
        """Return the names in topological order, ties broken by name; those behind a cycle are missing.

        Kahn's algorithm with a heap, O(edges + steps log steps): the order of networkx's
        `lexicographical_topological_sort`.
        """
        waits = {name: len(before) for name, before in self.before.items()}
        ready = [name for name, count in waits.items() if count == 0]
        heapify(ready)
        found: list[str] = []
        while ready:
            found.append(heappop(ready))
            for name in self.after[found[-1]]:
                waits[name] -= 1
                if waits[name] == 0:
                    heappush(ready, name)
        return found

    def ahead_of(self, name: str) -> set[str]:
        """Return what starts before a step, directly or not."""
        return _reached([name], lambda here: self.before[here])

    def behind(self, *names: str, kinds: Collection[str] = KINDS) -> set[str]:
        """Return what starts after these steps, directly or not, by edges of these kinds alone."""
        return _reached(names, lambda here: (there for there, kind in self.after[here].items() if kind in kinds))

    def graph(self) -> nx.DiGraph:
        """Return it as networkx's graph; each edge has its `kind`."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(self.after)
        for here, behind in self.after.items():
            graph.add_edges_from((here, there, {"kind": kind}) for there, kind in behind.items())
        return graph


def _reached(names: Iterable[str], onwards: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        new = set(onwards(todo.pop())) - found
        found |= new
        todo += new
    return found
