"""Resolution: from installed plugins and an application to one plan per blueprint, or all that is wrong with them.

Nothing here has an effect but the import of the plugins. Cost: O(steps + edges).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bootsteps.commands import Command, Commands, command_of, commands_in
from bootsteps.discovery import Broken, Catalogue, Plugin
from bootsteps.errors import (
    BootError,
    CycleError,
    DuplicateName,
    DuplicateProvider,
    KernelError,
    LackingCapability,
    MissingRequirement,
    UnknownName,
    WrongType,
    did_you_mean,
)
from bootsteps.services import ServiceKey
from bootsteps.settings import Setting
from bootsteps.step import Requirement, Step

if TYPE_CHECKING:
    import networkx as nx

    from bootsteps.app import App

__all__ = ["Candidate", "LeftOut", "Plan", "candidates", "compose", "settings_of"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A step class that may join a blueprint, and where it comes from."""

    name: str
    cls: type[Step]
    #: For messages: `worker.steps:Pool (bootsteps-worker-pool-solo 0.1.0)`, or the class in `app.steps`.
    origin: str
    dist: str = ""
    version: str = ""
    plugin: Plugin | None = None

    @property
    def location(self) -> str:
        """`module:Class`."""
        return f"{self.cls.__module__}:{self.cls.__qualname__}"

    @property
    def settings(self) -> tuple[Setting[Any], ...]:
        """The settings that it reads, and those by which it is chosen."""
        return (*(key.chosen_by for key in self.cls.provides if key.chosen_by), *self.cls.settings)

    @property
    def lends(self) -> tuple[str, ...]:
        """The names of the services that it lends."""
        return tuple(key.name for key in self.cls.provides)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A step that is installed and does not take part, and why."""

    name: str
    origin: str
    reason: str
    #: Its distribution, where it is known.
    dist: str = ""

    @property
    def quarantined(self) -> bool:
        """Tell whether it is left out because it, or something it needs, is broken."""
        return self.reason.startswith("quarantined")

    def is_meant(self, need: Requirement, word: str, offers: Sequence[str]) -> bool:
        """Tell whether it would satisfy a requirement, as far as can be told without importing it."""
        return word == self.name or (
            isinstance(need, ServiceKey) and (word == self.name.lower() or self.dist in offers)
        )


@dataclass
class Plan:
    """What one blueprint will boot, in order. `graph` has an edge from each step to those that start after it."""

    blueprint: str
    order: list[Candidate]
    graph: nx.DiGraph
    left_out: list[LeftOut] = field(default_factory=list)
    #: By the name of the step that runs it.
    nested: dict[str, Plan] = field(default_factory=dict)
    outer: Plan | None = None
    commands: Commands = field(default_factory=Commands)
    #: `kernel.hooks` plugins that listen without being steps: (name, plugin).
    listeners: list[tuple[str, object]] = field(default_factory=list)

    @cached_property
    def by_name(self) -> dict[str, Candidate]:
        """The steps by name."""
        return {candidate.name: candidate for candidate in self.order}

    @cached_property
    def lenders(self) -> dict[str, Candidate]:
        """Who lends each service, by the service's name."""
        return {service: candidate for candidate in self.order for service in candidate.lends}

    @cached_property
    def _aliases(self) -> dict[str, Candidate]:
        aliases = {candidate.name.lower(): candidate for candidate in self.order}
        return {candidate.location: candidate for candidate in self.order} | aliases | self.by_name

    def find(self, need: Requirement) -> Candidate | None:
        """Return the step of this blueprint that satisfies a requirement."""
        if isinstance(need, ServiceKey):
            return self.lenders.get(need.name)
        if isinstance(need, str):
            return self._aliases.get(need) or self._aliases.get(need.lower())
        return self._aliases.get(f"{need.__module__}:{need.__qualname__}")

    def find_around(self, need: Requirement) -> Candidate | None:
        """Return the step of this blueprint, or of one around it, that satisfies a requirement."""
        return self.find(need) or (self.outer.find_around(need) if self.outer else None)

    def outwards(self) -> Iterator[Plan]:
        """This plan and those around it."""
        yield self
        if self.outer is not None:
            yield from self.outer.outwards()

    def walk(self) -> Iterator[Plan]:
        """This plan and all that are nested in it."""
        yield self
        for name in sorted(self.nested):
            yield from self.nested[name].walk()


def compose(
    app: App,
    catalogue: Catalogue,
    blueprint: str = "worker",
    *,
    quarantine: bool = False,
    offers: Mapping[str, Sequence[str]] = {},
) -> Plan:
    """Return the plan of a blueprint and of those nested in it. Raises `BootError` with all faults at once.

    `offers` names distributions that lend a service or bring a step, for the message when none is installed.
    With `quarantine`, what cannot be loaded is left out with its dependants instead of being a fault.
    """
    composer = _Composer(app, catalogue, quarantine, offers)
    plan = composer.plan(blueprint, None)
    composer.check_settings(plan)
    composer.add_commands(plan)
    composer.add_listeners(plan)
    if composer.faults:
        raise BootError(_once(composer.faults))
    return plan


def candidates(app: App, catalogue: Catalogue, blueprint: str) -> tuple[list[Candidate], list[KernelError | Broken]]:
    """Return the step classes for a blueprint, and what was found instead of one."""
    found: list[Candidate] = []
    faults: list[KernelError | Broken] = []
    for plugin in catalogue.group(f"{blueprint}.steps"):
        loaded = catalogue.load(plugin)
        if isinstance(loaded, Broken):
            faults.append(loaded)
        elif fault := _type_fault(loaded, str(plugin)) or _declaration_fault(loaded, str(plugin)):
            faults.append(fault)
        else:
            assert isinstance(loaded, type)
            name = loaded.__dict__.get("name") or plugin.name
            found.append(Candidate(name, loaded, str(plugin), plugin.dist, plugin.version, plugin))
    added: list[Any] = sorted(app.steps[blueprint], key=_location)
    installed = {candidate.cls for candidate in found}
    for cls in added:
        origin = f"app.steps[{blueprint!r}]: {_location(cls)}"
        if fault := _type_fault(cls, origin) or _declaration_fault(cls, origin):
            faults.append(fault)
        elif cls not in installed:
            found.append(Candidate(cls.name or cls.__name__, cls, origin))
    faults += _pull_in(found)
    return [c for c in found if c.name not in catalogue.without], faults


def settings_of(found: Iterable[Candidate]) -> list[tuple[Setting[Any], Candidate]]:
    """Return each declared setting with the step that declares it."""
    return [(setting, candidate) for candidate in found for setting in candidate.settings]


def _pull_in(found: list[Candidate]) -> list[WrongType]:
    """Add the classes that others require and nobody installed: a class needs no entry point to be known."""
    known, faults = {candidate.cls for candidate in found}, []
    for candidate in found:  # grows while it is walked
        for need in candidate.cls.requires:
            if isinstance(need, type) and need not in known:
                known.add(need)
                origin = f"{_location(need)}, required by {candidate.origin}"
                if fault := _declaration_fault(need, origin):
                    faults.append(fault)
                else:
                    found.append(Candidate(need.name or need.__name__, need, origin))
    return faults


def _type_fault(found: object, origin: str) -> WrongType | None:
    if isinstance(found, type) and issubclass(found, Step):
        return None
    kind = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
    what = f"a step must be a subclass of bootsteps.Step, not {kind}"
    fix = "name the class, not an instance" if isinstance(found, Step) else "derive it from bootsteps.StartStopStep"
    return WrongType(what, (origin,), fix)


#: What the entries of a declaration may be.
_ENTRIES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("requires", "wants", "after", "before"), (str, type, ServiceKey)),
    "provides": (ServiceKey,),
    "settings": (Setting,),
}


def _declaration_fault(found: Any, origin: str) -> WrongType | None:
    """Return what is wrong with a step's declarations: `requires = ("Timer")` is a str, not a tuple."""
    for name, kinds in _ENTRIES.items():
        value = getattr(found, name)
        if isinstance(value, str) or not isinstance(value, Iterable):
            return WrongType(f"{name} must be a tuple, not {value!r}", (origin,), f"{name} = ({value!r},)")
        for entry in value:
            if not isinstance(entry, kinds) or (isinstance(entry, type) and not issubclass(entry, Step)):
                words = {str: "a step's name", type: "a step class", ServiceKey: "a service key", Setting: "a Setting"}
                allowed = " or ".join(words[kind] for kind in kinds)
                return WrongType(f"{name} has the entry {entry!r}", (origin,), f"each entry is {allowed}")
    return None


def _location(cls: Any) -> str:
    return f"{getattr(cls, '__module__', '')}:{getattr(cls, '__qualname__', repr(cls))}"


class _Composer:
    """Collects candidates, edges and faults, blueprint by blueprint."""

    def __init__(self, app: App, catalogue: Catalogue, quarantine: bool, offers: Mapping[str, Sequence[str]]) -> None:
        self.app = app
        self.catalogue = catalogue
        self.quarantine = quarantine
        self.offers = offers
        self.faults: list[KernelError] = []
        self._declared: list[tuple[Setting[Any], Candidate]] = []
        self._around: dict[str, set[str]] = defaultdict(set)
        #: Services, and names of steps, that a wrong choice leaves without a lender: one fault, not one per dependant.
        self._unchosen: set[str] = set()

    def plan(self, blueprint: str, outer: Plan | None) -> Plan:
        """Return the plan of one blueprint; faults are collected on the way."""
        import networkx as nx

        found, faults = candidates(self.app, self.catalogue, blueprint)
        self._declared += settings_of(found)
        self.app.conf.declare(setting for setting, _ in settings_of(found))
        plan = Plan(blueprint, [], nx.DiGraph(), outer=outer)
        self._sort_out(plan, faults)
        plan.order = self._one_of_each_name(self._choose(plan, found))
        self._check_lenders(plan)
        for host in [candidate for candidate in plan.order if candidate.cls.runs]:
            assert host.cls.runs
            plan.nested[host.name] = self.plan(host.cls.runs, plan)
        self._connect(plan)
        return plan

    def _sort_out(self, plan: Plan, faults: Iterable[KernelError | Broken]) -> None:
        for plugin in self.catalogue.installed:
            if plugin.group == f"{plan.blueprint}.steps" and not self.catalogue.usable(plugin):
                reason = "shadowed on sys.path" if plugin.shadowed else f"--without {self.catalogue.disabled(plugin)}"
                plan.left_out.append(LeftOut(plugin.name, str(plugin), reason, plugin.dist))
        for fault in faults:
            error = fault.error if isinstance(fault, Broken) else fault
            if isinstance(fault, Broken):
                reason = f"quarantined: {error.what}" if self.quarantine else "it cannot be loaded"
                plan.left_out.append(LeftOut(fault.plugin.name, str(fault.plugin), reason, fault.plugin.dist))
            if not (self.quarantine and isinstance(fault, Broken)):
                self.faults.append(error)

    def _choose(self, plan: Plan, found: list[Candidate]) -> list[Candidate]:
        """Keep one of several steps that offer the same service by choice."""
        rivals: dict[ServiceKey[Any], list[Candidate]] = defaultdict(list)
        for candidate in found:
            for key in candidate.cls.provides:
                if key.chosen_by and candidate.cls.choice:
                    rivals[key].append(candidate)
        dropped: set[str] = set()
        for key in sorted(rivals, key=lambda key: key.name):
            chosen = self._choice(key, rivals[key])
            for rival in rivals[key]:
                if rival is not chosen:
                    dropped.add(rival.origin)
                    reason = f"chosen is {chosen.cls.choice!r}" if chosen else "no choice is made"
                    plan.left_out.append(LeftOut(rival.name, rival.origin, reason, rival.dist))
        return [candidate for candidate in found if candidate.origin not in dropped]

    def _choice(self, key: ServiceKey[Any], rivals: list[Candidate]) -> Candidate | None:
        assert key.chosen_by is not None
        setting, wanted = key.chosen_by.name, self.app.conf.get(key.chosen_by)
        by_choice = {str(rival.cls.choice): rival for rival in rivals}
        if wanted in by_choice:
            return by_choice[wanted]
        if wanted is None and (key.default in by_choice or len(rivals) == 1):
            return by_choice.get(key.default or "", rivals[0])
        self._unchosen |= {key.name, *(rival.name for rival in rivals)}
        listed = [f"{choice}: {by_choice[choice].origin}" for choice in sorted(by_choice)]
        if wanted is None:
            offers = " and by ".join(repr(choice) for choice in sorted(by_choice))
            what = f"service {key.name!r} is offered by {offers}, and {setting} chooses neither"
            self.faults.append(
                DuplicateProvider(
                    what, listed, f"set {setting} ({_flags(key.chosen_by)}) to one of them, or uninstall the others"
                )
            )
        else:
            source = self.app.conf.source(setting)
            what = f"{setting} is {wanted!r} ({source}), and no installed plugin offers that {key.name}"
            fix = did_you_mean(str(wanted), by_choice) or f"install it, or choose one of {', '.join(sorted(by_choice))}"
            self.faults.append(UnknownName(what, listed, fix))
        return None

    def _one_of_each_name(self, found: list[Candidate]) -> list[Candidate]:
        by_name: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in found:
            by_name[candidate.name].append(candidate)
        for name in sorted(by_name):
            if len(by_name[name]) > 1:
                whose = [candidate.origin for candidate in by_name[name]]
                fix = f"rename one, or switch one off: --without {by_name[name][0].dist or name}"
                self.faults.append(DuplicateName(f"two steps are called {name!r}", whose, fix))
        return [by_name[name][0] for name in sorted(by_name)]

    def _check_lenders(self, plan: Plan) -> None:
        lenders: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in plan.order:
            for service in candidate.lends:
                lenders[service].append(candidate)
        for service in sorted(lenders):
            if len(lenders[service]) > 1:
                what = f"service {service!r} is lent by two steps, and no setting chooses between them"
                whose = [f"{candidate.name}: {candidate.origin}" for candidate in lenders[service]]
                fix = f"switch one off: --without {lenders[service][1].name}"
                self.faults.append(DuplicateProvider(what, whose, fix))

    def _connect(self, plan: Plan) -> None:
        """Draw the edges, drop what quarantine leaves without its needs, and put the steps in order."""
        import networkx as nx

        missing = self._draw(plan)
        while missing and self.quarantine and any(out.quarantined for out in plan.left_out):
            for name, (fault, *_) in missing.items():
                lost = plan.by_name[name]
                plan.left_out.append(LeftOut(name, lost.origin, f"quarantined: {fault.what}", lost.dist))
            plan.order = [candidate for candidate in plan.order if candidate.name not in missing]
            for cached in ("by_name", "lenders", "_aliases"):
                plan.__dict__.pop(cached, None)
            missing = self._draw(plan)
        self.faults += [fault for faults in missing.values() for fault in faults]
        self._tie_first_and_last(plan)
        if cycles := _cycles(plan.graph):
            self.faults += [self._cycle_fault(plan, cycle) for cycle in cycles]
            return
        plan.order = [plan.by_name[name] for name in nx.lexicographical_topological_sort(plan.graph)]

    def _draw(self, plan: Plan) -> dict[str, list[MissingRequirement]]:
        import networkx as nx

        plan.graph = graph = nx.DiGraph()
        graph.add_nodes_from(plan.by_name)
        missing: dict[str, list[MissingRequirement]] = {}
        for candidate in plan.order:
            for kind in ("requires", "wants", "after", "before"):
                for need in _in_order(getattr(candidate.cls, kind)):
                    self._edge(plan, candidate, kind, need, missing)
        for host, nested in plan.nested.items():
            for name in self._around.pop(nested.blueprint, ()):
                if name != host:
                    graph.add_edge(name, host, kind="requires")
        return missing

    def _edge(
        self,
        plan: Plan,
        candidate: Candidate,
        kind: str,
        need: Requirement,
        missing: dict[str, list[MissingRequirement]],
    ) -> None:
        found = plan.find(need)
        if found is not None and found is not candidate:
            here, there = (candidate, found) if kind == "before" else (found, candidate)
            if not plan.graph.has_edge(here.name, there.name):
                plan.graph.add_edge(here.name, there.name, kind=kind)
        elif found is candidate and kind == "requires":
            what = f"step {candidate.name!r} requires itself ({_spell(need)})"
            fault = MissingRequirement(what, (candidate.origin,), "remove it from requires")
            missing.setdefault(candidate.name, []).append(fault)
        elif found is None and plan.outer is not None and (around := plan.outer.find_around(need)):
            self._around[plan.blueprint].add(around.name)
        elif found is None and kind == "requires" and _word(need) not in self._unchosen:
            missing.setdefault(candidate.name, []).append(self._missing(plan, candidate, need))

    def _missing(self, plan: Plan, candidate: Candidate, need: Requirement) -> MissingRequirement:
        what, word = f"step {candidate.name!r} requires the {_spell(need)}, which", _word(need)
        scopes, offers = list(plan.outwards()), self.offers.get(word, ())
        for out in (out for scope in scopes for out in scope.left_out if out.is_meant(need, word, offers)):
            fix = f"mend {out.name}" if out.reason == "it cannot be loaded" else "take that back"
            whose, fix = (candidate.origin, out.origin), f"{fix}, or --without {candidate.name}"
            return MissingRequirement(f"{what} is left out ({out.reason})", whose, fix)
        near = "" if isinstance(need, ServiceKey) else did_you_mean(word, [n for s in scopes for n in s.by_name])
        fix = near or f"install what offers it, or --without {candidate.name}"
        if word in self.catalogue.without:  # a step of the application
            what, fix = f"{what} is left out (--without {word})", f"take that back, or --without {candidate.name}"
        else:
            what, fix = f"{what} nothing installed offers", f"pip install {' or '.join(offers)}" if offers else fix
        return MissingRequirement(what, (candidate.origin,), fix)

    def _tie_first_and_last(self, plan: Plan) -> None:
        import networkx as nx

        graph = plan.graph
        for first in [c for c in plan.order if c.cls.first]:
            before = nx.ancestors(graph, first.name) | {first.name}
            for candidate in plan.order:
                if candidate.name not in before and not candidate.cls.independent and not candidate.cls.first:
                    if not graph.has_edge(first.name, candidate.name):
                        graph.add_edge(first.name, candidate.name, kind="first")
        for last in [c for c in plan.order if c.cls.last]:
            behind = nx.descendants(graph, last.name) | {last.name}
            for candidate in plan.order:
                if (
                    candidate.name not in behind
                    and not candidate.cls.last
                    and not graph.has_edge(candidate.name, last.name)
                ):
                    graph.add_edge(candidate.name, last.name, kind="last")

    def _cycle_fault(self, plan: Plan, cycle: list[str]) -> CycleError:
        path = " -> ".join([*cycle, cycle[0]])
        whose = [f"{name}: {plan.by_name[name].origin}" for name in cycle]
        return CycleError(
            f"steps of {plan.blueprint!r} wait for each other: {path}", whose, "remove one of these needs"
        )

    def check_settings(self, plan: Plan) -> None:
        """Compare settings with their declarations, names with what is installed, demands with capabilities."""
        self._check_declarations()
        self.faults += self.app.conf.faults(self._readers)
        classes = [cls for steps in self.app.steps.values() for cls in steps]
        added = {str(getattr(cls, "name", None) or getattr(cls, "__name__", "")) for cls in classes}
        names = {candidate.name for scope in plan.walk() for candidate in scope.order} | added
        self.faults += self.catalogue.unknown_names(names)
        for scope in plan.walk():
            for candidate in scope.order:
                self.faults += self._unmet(scope, candidate)

    def _readers(self, name: str) -> list[str]:
        """Whose a setting is: the steps that read it, else the application."""
        origins = [candidate.origin for setting, candidate in self._declared if setting.name == name]
        return list(dict.fromkeys(origins)) or [f"the application {self.app!r}"]

    def _unmet(self, plan: Plan, candidate: Candidate) -> Iterator[LackingCapability]:
        for demand in candidate.cls.demands(self.app.conf):
            lender = plan.find_around(demand.key)
            if lender and demand.capability not in lender.cls.capabilities:
                kind = demand.key.name
                who = f"{kind} {lender.cls.choice or lender.name!r}"
                what = f"{demand.because} needs {demand.capability!r}, which {who} cannot do"
                yield LackingCapability(what, (lender.origin,), f"remove it, or choose another {kind}")

    def _check_declarations(self) -> None:
        claims: dict[str, list[tuple[Setting[Any], str]]] = defaultdict(list)
        owned = [(setting, "the application") for setting in self.app.settings]
        for setting, origin in [
            *owned,
            *((setting, candidate.origin) for setting, candidate in self._declared),
        ]:
            for claim in (setting.name, *setting.flags):
                if all(setting is not other for other, _ in claims[claim]):
                    claims[claim].append((setting, origin))
        for claim in sorted(claims):
            if len(claims[claim]) > 1:
                word = "option" if claim.startswith("-") else "setting"
                whose = [origin for _, origin in claims[claim]]
                self.faults.append(
                    DuplicateName(f"{word} {claim!r} is declared twice", whose, "rename one, or share one Setting")
                )

    def add_commands(self, plan: Plan) -> None:
        """Collect the remote commands, and check what they require."""
        found: list[tuple[str, Command]] = []
        for plugin in self.catalogue.group("worker.commands"):
            loaded = self._usable(plugin, plan)
            command = command_of(loaded)
            if command is not None:
                found.append((str(plugin), command))
            elif loaded is not None:
                what = "a remote command must be decorated with @control_command or @inspect_command"
                self.faults.append(WrongType(what, (str(plugin),), "from bootsteps import inspect_command"))
        for origin, command in [*found, *commands_in(self.app.load())]:
            try:
                plan.commands.add(command, origin)
            except DuplicateName as exc:
                self.faults.append(exc)
            for key in command.requires:
                if not any(scope.find(key) for scope in plan.walk()):
                    self.faults.append(self._missing_for_command(plan, command, origin, key))

    def _missing_for_command(
        self, plan: Plan, command: Command, origin: str, key: ServiceKey[Any]
    ) -> MissingRequirement:
        what, offers = f"command {command.name!r} requires the {_spell(key)}, which", self.offers.get(key.name, ())
        fix = f"pip install {' or '.join(offers)}" if offers else "install what offers it"
        left_out = [out for scope in plan.walk() for out in scope.left_out]
        for out in left_out:  # a command and its step mostly come in one distribution
            if out.is_meant(key, key.name, offers) or (out.dist and f"({out.dist} " in origin):
                whose, fix = (origin, out.origin), f"take that back, or --without {out.dist or command.name} as a whole"
                return MissingRequirement(f"{what} is left out ({out.reason})", whose, fix)
        return MissingRequirement(f"{what} nothing installed offers", (origin,), f"{fix}, or --without {command.name}")

    def add_listeners(self, plan: Plan) -> None:
        """Collect the `kernel.hooks` plugins."""
        for plugin in self.catalogue.group("kernel.hooks"):
            loaded = self._usable(plugin, plan)
            if loaded is not None:
                plan.listeners.append((str(plugin), loaded))

    def _usable(self, plugin: Plugin, plan: Plan) -> object | None:
        loaded = self.catalogue.load(plugin)
        if not isinstance(loaded, Broken):
            return loaded
        self._sort_out_one(plan, loaded)
        return None

    def _sort_out_one(self, plan: Plan, broken: Broken) -> None:
        if self.quarantine:
            reason = f"quarantined: {broken.error.what}"
            plan.left_out.append(LeftOut(broken.plugin.name, str(broken.plugin), reason, broken.plugin.dist))
        else:
            self.faults.append(broken.error)


def _word(need: Requirement) -> str:
    """Return the name by which a need is known to people."""
    return need if isinstance(need, str) else str(need.name or getattr(need, "__name__", ""))


def _in_order(needs: Iterable[Requirement]) -> Iterable[Requirement]:
    """Return needs in an order that does not depend on the hash seed: the guide writes them as a set, too."""
    return sorted(needs, key=_spell) if isinstance(needs, set | frozenset) else needs


def _flags(setting: Setting[Any]) -> str:
    return ", ".join(setting.flags)


def _spell(need: Requirement) -> str:
    if isinstance(need, ServiceKey):
        return f"service {need.name!r}"
    return f"step {need!r}" if isinstance(need, str) else f"step {need.__name__!r}"


def _cycles(graph: nx.DiGraph) -> list[list[str]]:
    """Return one cycle of each knot, as a path of names that begins with the smallest."""
    import networkx as nx

    knots = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
    cycles = []
    for knot in sorted(knots):
        cycle = [edge[0] for edge in nx.find_cycle(graph.subgraph(knot), knot[0])]
        start = cycle.index(min(cycle))
        cycles.append(cycle[start:] + cycle[:start])
    return cycles


def _once(faults: Iterable[KernelError]) -> list[KernelError]:
    return list({str(fault): fault for fault in faults}.values())
