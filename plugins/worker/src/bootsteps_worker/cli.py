"""`kernel worker`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bootsteps import BootError, KernelError, Step
from bootsteps.cli import BootCommand, Session
from bootsteps.collecting import without_collector
from bootsteps_worker.offers import OFFERS

if TYPE_CHECKING:
    from bootsteps import Blueprint
    from bootsteps_worker.controller import WorkController

__all__ = ["worker"]


@click.command(cls=BootCommand)
@click.option(
    "-n",
    "--hostname",
    metavar="NAME",
    envvar="KERNEL_WORKER_HOSTNAME",
    help="The node's name, e.g. worker1@%h (%h host, %n label, %d domain).",
)
@click.option("-q", "--quiet", is_flag=True, envvar="KERNEL_WORKER_QUIET", help="Print no banner at the start.")
@click.option("--dry-run", is_flag=True, help="Do everything but start: find, check, resolve and make the steps.")
@click.pass_obj
def worker(session: Session, hostname: str | None, quiet: bool, dry_run: bool) -> None:
    """Start a worker made of the installed plugins.

    Its other options come from those plugins, and are grouped by distribution below.

    \b
    kernel -A proj worker -l INFO
    kernel worker -A proj:app -c 4 -P prefork -Q mail,images -n worker1@%h
    kernel worker -A proj --without Mingle --dry-run
    """
    with without_collector():
        controller = _prepared(session, hostname, dry_run)
    _check_loop(controller.blueprint)
    if dry_run:
        click.echo(f"{controller.hostname} would start: {', '.join(controller.blueprint.order)}")
        return
    from bootsteps_worker.banner import banner, is_for_a_person
    from bootsteps_worker.program import run
    from bootsteps_worker.stdouts import redirected

    if not (quiet or session.quiet) and is_for_a_person(session.app()):
        click.echo(banner(controller))
    with redirected(session.app()):
        status = run(controller)
    sys.exit(status)


def _prepared(session: Session, hostname: str | None, dry_run: bool) -> WorkController:
    """Return a worker whose steps are made. Raises `KernelError`."""
    import logging

    from bootsteps_worker.logs import set_up
    from bootsteps_worker.program import launch, make, name_node, relaunch

    name = name_node(session.app(), hostname)
    if not dry_run:
        launch(session, name)
    set_up(session.app(), name)
    plan = session.compose("worker", OFFERS)
    if not plan.order:
        raise KernelError("no plugin offers a step of the worker", (), "pip install bootsteps-standard")
    for scope in plan.walk():
        for out in scope.left_out:
            if out.reason.startswith("quarantined"):
                logging.getLogger("worker").warning("%s is %s (%s)", out.name, out.reason, out.origin)
    session.extra |= {"hostname": hostname, "launch": relaunch(session)}
    controller = make(session, plan, name)
    try:
        controller.prepare()
    except KernelError as exc:
        raise BootError([exc]) from exc
    return controller


def _check_loop(blueprint: Blueprint) -> None:
    """Refuse a worker that would end as soon as it is ready. Raises `KernelError`."""
    if all(type(step).run is Step.run for step in blueprint.steps):
        whose = [candidate.origin for candidate in blueprint.plan.order]
        fix = "pip install bootsteps-consumer, bootsteps-standard, or a step of your own that has a run()"
        raise KernelError("no step runs a loop, so this worker has nothing to do", whose, fix)
