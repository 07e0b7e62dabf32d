"""`kernel stuck-report`."""

from __future__ import annotations

import json

import click

from bootsteps import KernelError
from bootsteps.cli import BootCommand, Session
from stuck_watch.step import STUCK_AFTER, StuckWatch

__all__ = ["report"]


@click.command("stuck-report", cls=BootCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")
@click.pass_obj
def report(session: Session, as_json: bool) -> None:
    """Tell the limit for stuck tasks, and when in the boot the watch starts.

    It takes the options of `kernel worker`, and starts nothing.
    """
    plan, conf = session.compose("worker"), session.app().conf
    order = [candidate.name for candidate in plan.order]
    name = next((candidate.name for candidate in plan.order if candidate.cls is StuckWatch), None)
    if name is None:
        reasons = [f"{out.origin}: {out.reason}" for out in plan.left_out if "stuck_watch" in out.origin + out.reason]
        raise KernelError("StuckWatch takes no part in this boot", reasons, "take back the --without that names it")
    place = order.index(name) + 1
    earlier = order[: place - 1]
    facts = {
        STUCK_AFTER.name: conf.get(STUCK_AFTER),
        "unit": STUCK_AFTER.unit,
        "source": conf.source(STUCK_AFTER.name),
        "place": place,
        "of": len(order),
        "after": earlier,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"a task is stuck after {conf.get(STUCK_AFTER):g} s ({facts['source']})")
    click.echo(f"{name} starts {place} of {len(order)}, after {', '.join(earlier) or 'nothing'}")
