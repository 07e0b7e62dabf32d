"""Resolution: from installed plugins and an application to one plan per blueprint, or all that is wrong with them.

Nothing here has an effect but the import of the plugins. Cost: O(steps + edges).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps.checks import cycles_of, repeated_declarations, unmet_demands, unread_settings
from bootsteps.commands import Command, command_of, commands_in
from bootsteps.dag import Dag
from bootsteps.discovery import Broken, Catalogue, Plugin
from bootsteps.errors import (
    BootError,
    DuplicateName,
    DuplicateProvider,
    KernelError,
    MissingRequirement,
    UnknownName,
    WrongType,
    did_you_mean,
)
from bootsteps.plan import (
    Candidate,
    LeftOut,
    Plan,
    candidates,
    in_order,
    installed_settings,
    settings_of,
    spell,
    word_of,
)  # fmt: skip
from bootsteps.services import ServiceKey
from bootsteps.settings import Setting
from bootsteps.step import Requirement

if TYPE_CHECKING:
    from bootsteps.app import App

__all__ = ["compose"]


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


class _Composer:
    """Collects candidates, edges and faults, blueprint by blueprint."""

    def __init__(self, app: App, catalogue: Catalogue, quarantine: bool, offers: Mapping[str, Sequence[str]]) -> None:
        self.app = app
        self.catalogue = catalogue
        self.quarantine = quarantine
        self.offers = offers
        self.faults: list[KernelError] = []
        self._declared: list[tuple[Setting[Any], Candidate]] = []
        self._rejected: list[Candidate] = []
        self._around: dict[str, set[str]] = defaultdict(set)
        #: Services, and names of steps, that a wrong choice leaves without a lender: one fault, not one per dependant.
        self._unchosen: set[str] = set()

    def plan(self, blueprint: str, outer: Plan | None) -> Plan:
        """Return the plan of one blueprint; faults are collected on the way."""
        found, faults = candidates(self.app, self.catalogue, blueprint)
        self._declared += settings_of(found)
        self.app.conf.declare(setting for setting, _ in settings_of(found))
        plan = Plan(blueprint, [], outer=outer)
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
                    self._rejected.append(rival)
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
        order = plan.dag.order()
        if len(order) < len(plan.order):
            self.faults += cycles_of(plan)
            return
        plan.order = [plan.by_name[name] for name in order]

    def _draw(self, plan: Plan) -> dict[str, list[MissingRequirement]]:
        plan.dag = Dag(plan.by_name)
        missing: dict[str, list[MissingRequirement]] = {}
        for candidate in plan.order:
            for kind in ("requires", "wants", "after", "before"):
                for need in in_order(getattr(candidate.cls, kind)):
                    self._edge(plan, candidate, kind, need, missing)
        for host, nested in plan.nested.items():
            for name in self._around.pop(nested.blueprint, ()):
                if name != host:
                    plan.dag.tie(name, host, "requires")
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
            plan.dag.tie(here.name, there.name, kind)
        elif found is candidate and kind == "requires":
            what = f"step {candidate.name!r} requires itself ({spell(need)})"
            fault = MissingRequirement(what, (candidate.origin,), "remove it from requires")
            missing.setdefault(candidate.name, []).append(fault)
        elif found is None and plan.outer is not None and (around := plan.outer.find_around(need)):
            self._around[plan.blueprint].add(around.name)
        elif found is None and kind == "requires" and word_of(need) not in self._unchosen:
            missing.setdefault(candidate.name, []).append(self._missing(plan, candidate, need))

    def _missing(self, plan: Plan, candidate: Candidate, need: Requirement) -> MissingRequirement:
        what, word = f"step {candidate.name!r} requires the {spell(need)}, which", word_of(need)
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
        for first in [c.name for c in plan.order if c.cls.first]:
            before = plan.dag.ahead_of(first) | {first}
            for candidate in plan.order:
                if candidate.name not in before and not candidate.cls.independent and not candidate.cls.first:
                    plan.dag.tie(first, candidate.name, "first")
        for last in [c.name for c in plan.order if c.cls.last]:
            behind = plan.dag.behind(last) | {last}
            for candidate in plan.order:
                if candidate.name not in behind and not candidate.cls.last:
                    plan.dag.tie(candidate.name, last, "last")

    def check_settings(self, plan: Plan) -> None:
        """Compare settings with their declarations, names with what is installed, demands with capabilities."""
        owned = [(setting, "the application") for setting in self.app.settings]
        self.faults += repeated_declarations([*owned, *((s, candidate.origin) for s, candidate in self._declared)])
        self.faults += self.app.conf.faults(
            self._readers, self.app.advice, lambda: installed_settings(self.app, self.catalogue)
        )
        classes = [cls for steps in self.app.steps.values() for cls in steps]
        added = {str(getattr(cls, "name", None) or getattr(cls, "__name__", "")) for cls in classes}
        names = {candidate.name for scope in plan.walk() for candidate in scope.order} | added
        self.faults += self.catalogue.unknown_names(names)
        self.faults += unmet_demands(plan, self.app.conf)
        self.faults += unread_settings(self._declared, self._rejected, plan, self.app.conf)

    def _readers(self, name: str) -> list[str]:
        """Whose a setting is: the steps that read it, else the application."""
        origins = [candidate.origin for setting, candidate in self._declared if setting.name == name]
        return list(dict.fromkeys(origins)) or [f"the application {self.app!r}"]

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
                if key.name not in self._unchosen and not any(scope.find(key) for scope in plan.walk()):
                    self.faults.append(self._missing_for_command(plan, command, origin, key))

    def _missing_for_command(
        self, plan: Plan, command: Command, origin: str, key: ServiceKey[Any]
    ) -> MissingRequirement:
        what, offers = f"command {command.name!r} requires the {spell(key)}, which", self.offers.get(key.name, ())
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


def _flags(setting: Setting[Any]) -> str:
    return ", ".join(setting.flags)


def _once(faults: Iterable[KernelError]) -> list[KernelError]:
    return list({str(fault): fault for fault in faults}.values())
