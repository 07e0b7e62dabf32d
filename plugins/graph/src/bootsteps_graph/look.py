"""From a session to what would boot: compose, make the steps, ask which take part; start nothing."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, redirect_stdout
from typing import Any

from bootsteps import Blueprint, BootError, Candidate, KernelError, Parent, Plan, ServiceKey
from bootsteps.cli import Session
from bootsteps_graph.model import BootGraph, Edge, LeftOut, Need, Place, Step

__all__ = ["look", "stdout_to_stderr"]


def look(session: Session, hostname: str | None = None) -> list[BootGraph]:
    """Return the worker's graph and those nested in it, outer ones first. Raises `KernelError`, `BootError`."""
    with stdout_to_stderr():
        plan = session.compose("worker")
        if not plan.order:
            raise _nothing(plan)
        name = hostname or f"celery@{socket.gethostname()}"
        parent = Parent(session.app(), hostname=name, options=session.options())
        seen = list(_prepare(plan, parent, None))
    included = {(scope.blueprint, step.name) for scope, _, _ in seen for step in scope.order}
    return [_graph(session, scope, host, note, included) for scope, host, note in seen]


def stdout_to_stderr() -> AbstractContextManager[Any]:
    """Send what third-party code prints to stderr: stdout is for the answer."""
    return redirect_stdout(sys.stderr)


def _nothing(plan: Plan) -> KernelError:
    if plan.left_out:
        whose = [f"{out.origin}: {out.reason}" for out in plan.left_out]
        return KernelError("every step of the worker is left out", whose, "take back what leaves them out")
    return KernelError(
        "no plugin offers a step of the worker, so there is no graph",
        ("the group worker.steps is empty",),
        "pip install bootsteps-standard, or name an application with steps of its own: -A MODULE:APP",
    )


class _Inside(Parent):
    """The parent of a nested blueprint; its steps may keep hold of `controller` when they are made."""

    def __init__(self, outer: Parent) -> None:
        super().__init__(outer.app, hostname=outer.hostname, options=outer.options, outer=outer)
        self.controller = outer


def _prepare(plan: Plan, parent: Parent, host: Place | None) -> Iterator[tuple[Plan, Place | None, str]]:
    """Make the steps of a plan and of those nested in it; what `include_if` refuses moves to `left_out`."""
    note = ""
    try:
        Blueprint(plan, parent).prepare()
    except BootError:
        raise
    except KernelError as exc:
        if host is None:
            raise
        note = exc.what
    except Exception as exc:
        if host is None:
            raise
        note = f"{type(exc).__name__}: {exc}"
    yield plan, host, f"which steps take part is only known at run time ({note})" if note else ""
    for candidate in plan.order:
        if candidate.name in plan.nested:
            yield from _prepare(plan.nested[candidate.name], _Inside(parent), (plan.blueprint, candidate.name))


def _graph(session: Session, plan: Plan, host: Place | None, note: str, included: set[Place]) -> BootGraph:
    names = {candidate.name for candidate in plan.order}
    edges = [Edge(a, b, kind) for a, b, kind in plan.graph.edges(data="kind") if a in names and b in names]
    left_out = [LeftOut(out.name, out.origin, out.reason) for out in plan.left_out]
    left_out += _switched_off(session, plan.blueprint)
    steps = [_step(plan, number, candidate, included) for number, candidate in enumerate(plan.order, 1)]
    return BootGraph(plan.blueprint, tuple(steps), tuple(sorted(edges)), tuple(sorted(left_out)), host, note)


def _switched_off(session: Session, blueprint: str) -> Iterator[LeftOut]:
    """The application's own steps that `--without` names: the kernel drops them without a word."""
    for cls in session.app().steps.get(blueprint, ()):
        name = getattr(cls, "name", None) or cls.__name__
        if name in session.catalogue.without:
            where = f"{cls.__module__}:{cls.__qualname__}"
            yield LeftOut(name, f"app.steps[{blueprint!r}]: {where}", f"--without {name}")


def _step(plan: Plan, number: int, candidate: Candidate, included: set[Place]) -> Step:
    cls, plugin = candidate.cls, candidate.plugin
    kinds = ("requires", "wants", "after", "before")
    needs = {_need(plan, kind, need, included) for kind in kinds for need in getattr(cls, kind)}
    settings = {(setting.name, tuple(setting.flags)) for setting in candidate.settings}
    return Step(
        number=number,
        name=candidate.name,
        location=candidate.location,
        origin=candidate.origin,
        dist=candidate.dist,
        version=candidate.version,
        entry_point=f"{plugin.group}:{plugin.name}" if plugin else "",
        needs=tuple(sorted(needs, key=lambda need: (kinds.index(need.kind), need.name, need.what))),
        lends=tuple(sorted(candidate.lends)),
        settings=tuple(sorted(settings)),
        choice=cls.choice,
        runs=cls.runs,
        first=bool(cls.first),
        last=bool(cls.last),
        independent=bool(cls.independent),
        conditional=bool(cls.conditional),
    )


def _need(plan: Plan, kind: str, need: Any, included: set[Place]) -> Need:
    service = isinstance(need, ServiceKey)
    name = need.name if service else need if isinstance(need, str) else need.name or need.__name__
    scope: Plan | None = plan
    while scope is not None:
        found = scope.find(need)
        if found is not None and (scope.blueprint, found.name) in included:
            return Need(kind, "service" if service else "step", name, (scope.blueprint, found.name))
        scope = scope.outer if kind in ("requires", "wants") else None
    return Need(kind, "service" if service else "step", name, None)
