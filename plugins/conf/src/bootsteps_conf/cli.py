"""`kernel conf`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from bootsteps import BootError, KernelError, Setting, Settings
from bootsteps.cli import BootCommand, Session
from bootsteps.errors import UnknownName, did_you_mean
from bootsteps_conf.rows import Row, row_of

__all__ = ["conf"]


@click.command(cls=BootCommand)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--defaults", is_flag=True, help="Show those too that nobody set.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@click.pass_obj
def conf(session: Session, names: tuple[str, ...], defaults: bool, as_json: bool) -> None:
    """Show the settings, their values, and where each came from.

    Without a NAME these are the ones that somebody set: on the command line, in the environment (KERNEL_...), in the
    file or module of --config, or in the application. It takes the options of `kernel worker`, so that a line can be
    tried. Passwords and keys are masked. The exit status is 2 when a setting is unknown or has a wrong value.

    \b
    kernel -A proj conf
    kernel -A proj --config prod.toml conf --defaults --json
    kernel -A proj conf broker_url worker_concurrency
    """
    settings = session.app().conf
    declared = {setting.name: setting for setting, _ in session.settings()} | _of_the_kernel(settings)
    settings.declare(declared.values())
    owners = {setting.name: owner for setting, owner in session.settings()}
    chosen = _chosen(session, declared, names, defaults)
    _print([row_of(settings, declared[name], owners.get(name, "bootsteps")) for name in chosen], as_json)
    if not chosen and not as_json and not session.quiet:
        click.echo("note: nobody set anything; --defaults shows all settings", err=True)
    whose = {name: [owner] for name, owner in owners.items()}
    faults = settings.faults(lambda name: whose.get(name, []), session.app().advice, session.elsewhere)
    if faults:
        raise BootError(faults)


def _of_the_kernel(settings: Settings) -> dict[str, Setting[Any]]:
    """The settings that an application of any kind has."""
    from bootsteps.app import ON_PLUGIN_ERROR, WITHOUT

    return {setting.name: setting for setting in (ON_PLUGIN_ERROR, WITHOUT)}


def _chosen(session: Session, declared: Iterable[str], names: Sequence[str], defaults: bool) -> list[str]:
    """Return the names to show. Raises `BootError` for those that are no setting."""
    app, known = session.app(), sorted(declared)
    unknown: list[KernelError] = []
    for name in sorted(set(names) - set(known)):
        fix = app.advice(name) or did_you_mean(name, known) or "kernel conf --defaults lists all"
        unknown.append(UnknownName(f"there is no setting {name!r}", (f"kernel conf {name}",), fix))
    if unknown:
        raise BootError(unknown)
    return list(dict.fromkeys(names)) or [name for name in known if defaults or app.conf.source(name) != "default"]


def _print(rows: Sequence[Row], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    table = [(row.name, row.text, row.source) for row in rows]
    widths = [min(60, max((len(line[column]) for line in table), default=0)) for column in (0, 1)]
    for name, text, source in table:
        click.echo(f"{name:<{widths[0]}}  {text:<{widths[1]}}  {source}".rstrip())
