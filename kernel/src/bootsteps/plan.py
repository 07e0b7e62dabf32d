"""What may join a blueprint, and the plan that is made of it.

`candidates` imports the steps of one blueprint and looks at their declarations; `resolve` puts them in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from bootsteps.commands import Commands
from bootsteps.dag import Dag
from bootsteps.discovery import Broken, Catalogue, Plugin
from bootsteps.errors import KernelError, WrongType
from bootsteps.services import ServiceKey
from bootsteps.settings import Setting
from bootsteps.step import Requirement, Step

if TYPE_CHECKING:
    import networkx as nx

    from bootsteps.app import App

__all__ = [
    "Candidate", "LeftOut", "Plan", "candidates", "in_order", "installed_settings", "settings_of", "spell", "word_of",
]  # fmt: skip


class Candidate(NamedTuple):
    """A step class that may join a blueprint, and where it comes from."""

    name: str
    cls: type[Step]
    #: For messages: `worker.steps:Pulse (my-pulse 1.0)`, or the class in `app.steps`.
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


class LeftOut(NamedTuple):
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
    """What one blueprint will boot, in order."""

    blueprint: str
    order: list[Candidate]
    #: Why that order: an edge from each step to those that start after it.
    dag: Dag = field(default_factory=Dag)
    left_out: list[LeftOut] = field(default_factory=list)
    #: By the name of the step that runs it.
    nested: dict[str, Plan] = field(default_factory=dict)
    outer: Plan | None = None
    commands: Commands = field(default_factory=Commands)
    #: `kernel.hooks` plugins that listen without being steps: (name, plugin).
    listeners: list[tuple[str, object]] = field(default_factory=list)

    @property
    def graph(self) -> nx.DiGraph:
        """The `dag` as a graph of networkx, made anew for each caller; an edge's `kind` says why it is there."""
        return self.dag.graph()

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
        names = {candidate.name.lower(): candidate for candidate in self.order}
        others = {alias.lower(): candidate for candidate in self.order for alias in candidate.cls.aliases}
        return others | {candidate.location: candidate for candidate in self.order} | names | self.by_name

    def find(self, need: Requirement) -> Candidate | None:
        """Return the step of this blueprint that satisfies a requirement."""
        if isinstance(need, ServiceKey):
            return self.lenders.get(need.name)
        if isinstance(need, str):
            name = need.rpartition(":")[2]  # Celery's own "celery.worker.components:Pool" means our Pool
            return self._aliases.get(need) or self._aliases.get(name.lower())
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


def word_of(need: Requirement) -> str:
    """Return the name by which a need is known to people."""
    return need if isinstance(need, str) else str(need.name or getattr(need, "__name__", ""))


def in_order(needs: Iterable[Requirement]) -> Iterable[Requirement]:
    """Return needs in an order that does not depend on the hash seed: the guide writes them as a set, too."""
    return sorted(needs, key=spell) if isinstance(needs, set | frozenset) else needs


def spell(need: Requirement) -> str:
    if isinstance(need, ServiceKey):
        return f"service {need.name!r}"
    return f"step {need!r}" if isinstance(need, str) else f"step {need.__name__!r}"


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


def installed_settings(app: App, catalogue: Catalogue) -> list[Setting[Any]]:
    """Return the settings of all steps that are there, also of those that are switched off or in no plan.

    Who leaves a step out need not take its settings out of the application. What cannot be imported has none.
    """
    there = [p for p in catalogue.installed if p.group.endswith(".steps") and not p.shadowed]
    classes: list[Any] = [catalogue.load(plugin) for plugin in there]
    classes += [cls for steps in app.steps.values() for cls in steps]
    sound = [cls for cls in classes if not _type_fault(cls, "") and not _declaration_fault(cls, "")]
    return [setting for cls in sound for setting in cls.settings]


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
    "aliases": (str,),
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
