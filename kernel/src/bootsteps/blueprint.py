"""A blueprint: the steps of one plan, made, started, restarted and stopped in order."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bootsteps.commands import Command
from bootsteps.dag import NEEDS
from bootsteps.deadlines import deadline
from bootsteps.errors import BootError, DeadlineExceeded, KernelError, MissingRequirement
from bootsteps.hooks import Hooks
from bootsteps.plan import Candidate, LeftOut, Plan
from bootsteps.services import ServiceKey
from bootsteps.step import Step
from bootsteps.view import Access, Parent, State, View

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Blueprint"]

log = logging.getLogger("bootsteps.blueprint")


@dataclass(slots=True)
class _Slot:
    """One step in its place."""

    candidate: Candidate
    step: Step
    view: View
    access: Access
    started: bool = False


class Blueprint:
    """Runs a plan for a parent. Not thread-safe but for `join`: one thread, the loop's, calls it."""

    def __init__(self, plan: Plan, parent: Parent) -> None:
        self.plan = plan
        self.name = plan.blueprint.capitalize()
        self.parent = parent
        self.state = State.NEW
        self.shutdown_complete = threading.Event()
        self._slots: dict[str, _Slot] = {}
        parent.blueprint = self
        parent.services.known.update(plan.lenders)

    @property
    def graph(self) -> nx.DiGraph:
        """An edge from each step to those that start after it."""
        return self.plan.graph

    @property
    def order(self) -> list[str]:
        """The names of the steps that take part, in boot order."""
        return [candidate.name for candidate in self.plan.order]

    @property
    def steps(self) -> list[Step]:
        """The steps that take part, in boot order."""
        return [slot.step for slot in self._slots.values()]

    @property
    def started(self) -> list[str]:
        """The names of the steps that are started now, in boot order."""
        return [name for name, slot in self._slots.items() if slot.started]

    def __getitem__(self, name: str) -> Step:
        return self._slots[name].step

    def view(self, name: str) -> View:
        """Return the named step's view of the parent."""
        return self._slots[name].view

    def command_view(self, command: Command, also: Sequence[ServiceKey[Any]] = ()) -> View:
        """Return the view of the parent for a remote command: the services that it requires, and these."""
        reads = frozenset(key.name for key in (*command.requires, *also))
        logger = logging.getLogger(f"{self.plan.blueprint}.{command.name}")
        return View(self.parent, Access(command.name, f"remote command {command.name!r}", logger, reads))

    def nested(self, step: str, parent: Parent) -> Blueprint:
        """Return a blueprint for what the named step runs."""
        return Blueprint(self.plan.nested[step], parent)

    def apply(self) -> None:
        """Make every step, ask which take part, and let those create their objects. Raises `BootError`."""
        self.prepare()
        for out in [out for out in self.plan.left_out if out.quarantined]:
            log.warning("%s: %s is left out, %s (%s)", self.name, out.name, out.reason, out.origin)
        for slot in self._slots.values():
            with _blamed(slot.candidate, "cannot create its object"):
                slot.step.obj = slot.step.create(slot.view)
            self._lend_object(slot)

    def prepare(self) -> None:
        """Make every step and ask which take part. Raises `BootError`."""
        self._debug("Preparing bootsteps.")
        self._debug("Building graph...")
        made = {candidate.name: self._make(candidate) for candidate in self.plan.order}
        self._leave_out({name for name, slot in made.items() if not _included(slot)}, made)
        self._slots = {candidate.name: made[candidate.name] for candidate in self.plan.order}
        self._check_listeners()
        self._debug("New boot order: {%s}", ", ".join(map(_label, self._slots.values())))

    def _check_listeners(self) -> None:
        """Refuse a `@hookimpl` of a hook that does not exist now, and not when its step starts."""
        rehearsal = Hooks()
        for slot in self._slots.values():
            with _blamed(slot.candidate, "cannot listen"):
                rehearsal.register(slot.step, slot.candidate.name)

    def _make(self, candidate: Candidate) -> _Slot:
        logger = logging.getLogger(f"{self.plan.blueprint}.{candidate.name}")
        access = Access(candidate.name, candidate.origin, logger, *self._rights(candidate))
        view = View(self.parent, access)
        with _blamed(candidate, "cannot be made"):
            step = candidate.cls(view, **_accepted(candidate.cls, self.parent.options))
        step.__dict__.setdefault(self.plan.blueprint, view)  # the guide's samples read self.worker
        return _Slot(candidate, step, view, access)

    def _rights(self, candidate: Candidate) -> tuple[frozenset[str], tuple[str, ...], frozenset[str]]:
        reads: set[str] = set()
        for need in (*candidate.cls.requires, *candidate.cls.wants):
            if not isinstance(need, str | type):
                reads.add(need.name)
            lender = self.plan.find_around(need)
            if lender is not None and isinstance(need, str | type):
                reads.update(lender.lends)
        return frozenset(reads), candidate.lends, frozenset(s.name for s in candidate.cls.settings)

    def _leave_out(self, names: set[str], made: dict[str, _Slot]) -> None:
        """Drop these steps, the conditional ones that need them, and refuse others that need them."""
        reasons = dict.fromkeys(names, "its include_if says no")
        faults: list[MissingRequirement] = []
        for candidate in self.plan.order:  # a step comes after what it needs: one pass will do
            needs = [found.name for need in candidate.cls.requires if (found := self.plan.find(need))]
            gone = sorted(set(needs) & set(reasons))
            if gone and candidate.name not in reasons:
                if candidate.cls.conditional:
                    reasons[candidate.name] = f"it requires {gone[0]!r}, which is left out"
                else:
                    what = f"step {candidate.name!r} requires the step {gone[0]!r}, which is left out of this boot"
                    fix = f"switch {gone[0]!r} on by its option, or make {candidate.name!r} conditional"
                    faults.append(MissingRequirement(what, (candidate.origin, made[gone[0]].candidate.origin), fix))
        if faults:
            raise BootError(faults)
        self.plan.left_out += [LeftOut(n, made[n].candidate.origin, reason) for n, reason in sorted(reasons.items())]
        self.plan.order = [candidate for candidate in self.plan.order if candidate.name not in reasons]

    def _lend_object(self, slot: _Slot) -> None:
        if len(slot.access.lends) == 1 and slot.step.obj is not None:
            self.parent.services.lend(slot.access.lends[0], slot.step.obj, slot.candidate.name)

    def start(self) -> None:
        """Start every step that is not started, in order; if one fails, stop those that this call started.

        Raises what the step raised: a `KernelError` with the step's origin in it; for anything else the log says whose.
        """
        self.state = State.RUN
        begun: list[_Slot] = []
        for slot in [slot for slot in self._slots.values() if not slot.started]:
            begun.append(slot)
            try:
                self._start(slot)
            except BaseException as exc:
                if isinstance(exc, KernelError):
                    _sign(exc, slot.candidate)
                elif isinstance(exc, Exception):
                    log.error("%s: step %s failed to start (%s)", self.name, slot.candidate.name, slot.candidate.origin)
                self._announce("step_failed", step=slot.candidate.name, action="start", error=exc)
                self._undo(begun)
                raise

    def _start(self, slot: _Slot) -> None:
        name = slot.candidate.name
        self._debug("Starting %s", _label(slot))
        self._lend_object(slot)
        self.parent.hooks.register(slot.step, f"{self.plan.blueprint}.{name}")
        began = time.perf_counter()
        with self._limit(slot, "start", slot.step.start_timeout_s):
            slot.step.start(slot.view)
        slot.started = True
        seconds = time.perf_counter() - began
        log.debug("^-- substep ok (%s, %.1f ms)", _label(slot), seconds * 1000)
        self._announce("step_started", step=name, seconds=seconds)

    def _undo(self, begun: Iterable[_Slot]) -> None:
        for slot in reversed(list(begun)):
            if slot.started:
                self._stop(slot, terminate=False)
            else:
                self._release(slot)

    def run(self, until: Callable[[], bool]) -> None:
        """Let the step that has a `run` turn the loop until `until()` is true."""
        for slot in self._slots.values():
            if type(slot.step).run is not Step.run:
                slot.step.run(slot.view, until)

    def close(self) -> None:
        """Tell every started step, in order, to take no new work."""
        if self.state is State.RUN:
            self.state = State.CLOSE
            for slot in [slot for slot in self._slots.values() if slot.started]:
                self._debug("Closing %s...", _label(slot))
                with self._logged(slot, "close"), self._limit(slot, "close", slot.step.stop_timeout_s):
                    slot.step.close(slot.view)

    def idle(self) -> bool:
        """Tell whether no started step has work left to finish."""
        return all(slot.step.idle(slot.view) for slot in self._slots.values() if slot.started)

    def stop(self, terminate: bool = False) -> None:
        """Stop every started step in reverse order, whatever fails; `terminate` = without finishing anything."""
        if self.state is State.RUN and not terminate:
            self.close()
        for slot in reversed(self._slots.values()):
            if slot.started:
                self._stop(slot, terminate)
        self.state = State.TERMINATE
        self.shutdown_complete.set()

    def _stop(self, slot: _Slot, terminate: bool) -> None:
        action = "terminate" if terminate else "stop"
        self._debug("%s %s...", "Terminating" if terminate else "Stopping", _label(slot))
        with self._logged(slot, action), self._limit(slot, action, slot.step.stop_timeout_s):
            getattr(slot.step, action)(slot.view)
        slot.started = False
        self._release(slot)
        self._announce("step_stopped", step=slot.candidate.name)

    def _release(self, slot: _Slot) -> None:
        while slot.access.releases:
            with self._logged(slot, "release"):
                slot.access.releases.pop()()
        self.parent.services.withdraw(slot.candidate.name)
        self.parent.hooks.unregister(slot.step)

    def shutdown(self) -> None:
        """Tell every step, in reverse order, that the worker is going down and nothing will be started again."""
        self.send_all("shutdown")

    def shutdown_nested(self) -> None:
        """Have the steps that run a blueprint of their own tell its steps so; the guide's worker tells no others."""
        for slot in self._slots.values():
            if slot.candidate.name in self.plan.nested:
                with self._logged(slot, "shutdown"):
                    slot.step.shutdown(slot.view)

    def restart(self, *names: str) -> None:
        """Stop these steps and all that depend on them, then start them again in order; the others go on untouched."""
        self.stop_with_dependants(*names)
        self.start()

    def stop_with_dependants(self, *names: str) -> None:
        """Stop these steps and all that depend on them, in reverse order. `start()` brings them back."""
        affected = self.dependants(*names)
        for name, slot in reversed(self._slots.items()):
            if slot.started and name in affected:
                self._stop(slot, terminate=False)

    def dependants(self, *names: str) -> set[str]:
        """Return these steps and all that need them, directly or not. Order alone (`after`, `last`) is no need."""
        return {*names, *self.plan.dag.behind(*names, kinds=NEEDS)}

    def send_all(self, method: str, *args: Any, reverse: bool = True) -> None:
        """Call a method of every step with its view; a failure is logged and the others are still called."""
        slots = list(self._slots.values())
        for slot in reversed(slots) if reverse else slots:
            function = getattr(slot.step, method, None)
            if function is not None:
                with self._logged(slot, method):
                    function(slot.view, *args)

    def info(self) -> dict[str, Any]:
        """Return the facts that the started steps tell, merged."""
        facts: dict[str, Any] = {}
        for slot in [slot for slot in self._slots.values() if slot.started]:
            with self._logged(slot, "info"):  # one that fails does not hide the others
                facts.update(slot.step.info(slot.view) or {})
        return facts

    def join(self, timeout: float | None = None) -> bool:
        """Wait, in another thread, until all is stopped; False when `timeout` seconds were not enough."""
        return self.shutdown_complete.wait(timeout)

    @contextmanager
    def _limit(self, slot: _Slot, action: str, seconds: float | None) -> Iterator[None]:
        def late() -> DeadlineExceeded:
            what = f"step {slot.candidate.name!r} did not {action} within {seconds:g} seconds"
            return DeadlineExceeded(
                what, (slot.candidate.origin,), f"look where it waits, or --without {slot.candidate.name}"
            )

        with deadline(seconds, late):
            yield

    @contextmanager
    def _logged(self, slot: _Slot, action: str) -> Iterator[None]:
        try:
            yield
        except Exception as exc:
            log.exception(
                "%s: step %s failed to %s (%s)", self.name, slot.candidate.name, action, slot.candidate.origin
            )
            self._announce("step_failed", step=slot.candidate.name, action=action, error=exc)

    def _announce(self, hook: str, **facts: Any) -> None:
        self.parent.hooks.announce(hook, blueprint=self.plan.blueprint, **facts)

    def _debug(self, text: str, *args: Any) -> None:
        log.debug("| %s: " + text, self.name, *args)


@contextmanager
def _blamed(candidate: Candidate, what: str) -> Iterator[None]:
    """Turn what a step raises while it is made into a `KernelError` that names it."""
    try:
        yield
    except KernelError as exc:
        _sign(exc, candidate)
        raise
    except Exception as exc:
        log.debug("step %s %s", candidate.name, what, exc_info=True)
        text = f"step {candidate.name!r} {what}: {type(exc).__name__}: {exc}"
        fix = f"mend it (-l DEBUG shows where it failed), or --without {candidate.name}"
        raise KernelError(text, (candidate.origin,), fix) from exc


def _sign(error: KernelError, candidate: Candidate) -> None:
    """See to it that an error which a step raised says whose it is and what to do."""
    if isinstance(error, BootError) or error.signed:  # a step that runs a blueprint hands on what its steps raise
        return
    error.signed = True
    error.whose = tuple(dict.fromkeys((*error.whose, candidate.origin)))
    error.fix = error.fix or f"mend it, or --without {candidate.name}"


def _included(slot: _Slot) -> bool:
    with _blamed(slot.candidate, "cannot tell whether it takes part"):
        return slot.step.include_if(slot.view)


def _label(slot: _Slot) -> str:
    return slot.step.label or slot.candidate.name


def _accepted(cls: type[Step], options: dict[str, Any]) -> dict[str, Any]:
    """Return those options that the signature of `__init__` takes."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[2:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return options
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in options.items() if name in names}
