"""`kernel report`."""

from __future__ import annotations

import json

import click

from bootsteps.cli import AppCommand, Session

__all__ = ["report"]


@click.command(cls=AppCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")
@click.pass_obj
def report(session: Session, as_json: bool) -> None:
    """Print what a report of a bug needs: versions, platform, installed parts, settings. Passwords are masked.

    \b
    kernel -A proj report

    What a running worker would say: kernel -A proj inspect report
    """
    from bootsteps_control_core.report import report_of

    app = session.app()
    installed = sorted({(plugin.dist, plugin.version) for plugin in session.catalogue.installed})
    if as_json:
        click.echo(json.dumps({"report": report_of(app), "distributions": dict(installed)}))
        return
    click.echo(report_of(app))
    click.echo("\n".join(["distributions:", *(f"  {name} {version}" for name, version in installed)]))
