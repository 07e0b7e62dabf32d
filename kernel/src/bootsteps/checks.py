"""What can be wrong with a composition as a whole: each check returns its faults and changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bootsteps.errors import CycleError, DuplicateName, LackingCapability

if TYPE_CHECKING:
    import networkx as nx

    from bootsteps.plan import Candidate, Plan
    from bootsteps.settings import Setting, Settings

__all__ = ["cycles_of", "repeated_declarations", "unmet_demands", "unread_settings"]


def repeated_declarations(declared: Iterable[tuple[Setting[Any], str]]) -> Iterator[DuplicateName]:
    """Find the names and flags that two settings claim; each setting comes with its origin. Sharing one is allowed."""
    claims: dict[str, list[tuple[Setting[Any], str]]] = defaultdict(list)
    for setting, origin in declared:
        for claim in (setting.name, *setting.flags):
            if all(setting is not other for other, _ in claims[claim]):
                claims[claim].append((setting, origin))
    for claim in sorted(claim for claim in claims if len(claims[claim]) > 1):
        what = f"{'option' if claim.startswith('-') else 'setting'} {claim!r} is declared twice"
        yield DuplicateName(what, [origin for _, origin in claims[claim]], "rename one, or share one Setting")


def unmet_demands(plan: Plan, conf: Settings) -> Iterator[LackingCapability]:
    """Find what the settings ask of a service that its chosen lender cannot do."""
    for scope in plan.walk():
        for demand in [demand for candidate in scope.order for demand in candidate.cls.demands(conf)]:
            lender = scope.find_around(demand.key)
            if lender and demand.capability not in lender.cls.capabilities:
                kind = demand.key.name
                who = f"{kind} {lender.cls.choice or lender.name!r}"
                what = f"{demand.because} needs {demand.capability!r}, which {who} cannot do"
                yield LackingCapability(what, (lender.origin,), f"remove it, or choose another {kind}")


def unread_settings(
    declared: Iterable[tuple[Setting[Any], Candidate]], rejected: Iterable[Candidate], chosen: Plan, conf: Settings
) -> Iterator[LackingCapability]:
    """Find the settings that were given and that only steps read which were not chosen."""
    losers = {candidate.origin: candidate for candidate in rejected}
    readers: dict[str, list[Candidate]] = defaultdict(list)
    for setting, candidate in declared:
        readers[setting.name].append(candidate)
    for name, candidates in sorted(readers.items()):
        if conf.source(name) == "default" or any(candidate.origin not in losers for candidate in candidates):
            continue
        key = next(key for key in candidates[0].cls.provides if key.chosen_by)
        lender = chosen.find_around(key)
        if lender:
            choices = " or ".join(sorted({repr(candidate.cls.choice) for candidate in candidates}))
            what = f"{name} = {conf[name]} is read by {key.name} {choices}, and chosen is {lender.cls.choice!r}"
            yield LackingCapability(what, (lender.origin,), f"remove it, or choose another {key.name}")


def cycles_of(plan: Plan) -> list[CycleError]:
    """Find the steps that wait for each other: one cycle of each knot."""
    return [_cycle_error(plan, cycle) for cycle in _cycles(plan.graph)]


def _cycle_error(plan: Plan, cycle: list[str]) -> CycleError:
    what = f"steps of {plan.blueprint!r} wait for each other: {' -> '.join([*cycle, cycle[0]])}"
    whose = [f"{name}: {plan.by_name[name].origin}" for name in cycle]
    return CycleError(what, whose, "remove one of these needs")


def _cycles(graph: nx.DiGraph) -> Iterator[list[str]]:
    """Yield cycles as paths of names, each beginning with its smallest."""
    import networkx as nx

    knots = (sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1)
    for knot in sorted(knots):
        cycle = [edge[0] for edge in nx.find_cycle(graph.subgraph(knot), knot[0])]
        start = cycle.index(min(cycle))
        yield cycle[start:] + cycle[:start]
