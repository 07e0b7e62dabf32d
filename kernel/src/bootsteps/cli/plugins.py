"""`kernel plugins`: what is installed in the kernel's groups."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import click

from bootsteps.cli.boot import AppCommand
from bootsteps.cli.session import Session
from bootsteps.discovery import Broken, Plugin
from bootsteps.errors import KernelError, UnknownName, did_you_mean

__all__ = ["plugins"]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


@click.group()
def plugins() -> None:
    """Look at the installed plugins.

    \b
    kernel plugins list                what is installed, from where, and whether it takes part
    kernel plugins check -A proj       import all of it, and compose the worker
    kernel plugins show Timer          one step: what it needs, lends and reads
    """


@plugins.command("list", cls=AppCommand)
@as_json
@click.pass_obj
def list_plugins(session: Session, as_json: bool) -> None:
    """List every plugin with its state, without importing any.

    States: ok, disabled (by --without), broken (its module is not there), shadowed (another distribution of that name
    comes first on the import path). `kernel plugins check` imports them to find what else is wrong.

    \b
    kernel plugins list
    kernel plugins list --json --without Mingle
    """
    session.app()
    _print([_row(session, plugin, *_state(session, plugin)) for plugin in session.catalogue.installed], as_json)


@plugins.command(cls=AppCommand)
@as_json
@click.pass_obj
def check(session: Session, as_json: bool) -> None:
    """Import every plugin and compose the worker; exit 2 if anything is wrong.

    \b
    kernel plugins check -A proj
    """
    session.app()
    rows = []
    for plugin in session.catalogue.installed:
        state, reason = _state(session, plugin)
        loaded = session.catalogue.load(plugin) if state == "ok" else None
        if isinstance(loaded, Broken):
            state, reason = "broken", loaded.error.what
        rows.append(_row(session, plugin, state, reason))
    _print(rows, as_json)
    if any(plugin.group == "worker.steps" for plugin in session.catalogue.plugins):
        session.compose()
    broken = [row for row in rows if row["state"] == "broken"]
    if broken:
        whose = [f"{row['group']}:{row['name']} ({row['distribution']} {row['version']})" for row in broken]
        what = f"broken plugins: {', '.join(row['name'] for row in broken)}"
        raise KernelError(what, whose, "mend or uninstall them; the reasons stand in the table")


@plugins.command(cls=AppCommand)
@click.argument("name")
@as_json
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show all about the plugins called NAME (or of the distribution NAME): what they need, lend and read.

    \b
    kernel plugins show Timer
    kernel plugins show bootsteps-worker-timer --json
    """
    session.app()
    found = [plugin for plugin in session.catalogue.installed if plugin.answers_to(name)]
    if not found:
        known = [known for plugin in session.catalogue.installed for known in (plugin.name, plugin.dist)]
        raise UnknownName(f"no plugin is called {name!r}", (), did_you_mean(name, known) or "kernel plugins list")
    details = [_details(session, plugin) for plugin in found]
    if as_json:
        click.echo(json.dumps(details, indent=2))
        return
    for detail in details:
        for key, value in detail.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"{key:>12}  {text}")
        click.echo()


def _state(session: Session, plugin: Plugin) -> tuple[str, str]:
    if plugin.shadowed:
        return "shadowed", f"another {plugin.dist} comes first on the import path"
    if session.catalogue.disabled(plugin):
        return "disabled", "--without, the setting `without` or KERNEL_WITHOUT"
    module = plugin.value.partition(":")[0]
    return ("ok", "") if _exists(module) else ("broken", f"there is no module {module!r}")


def _exists(module: str) -> bool:
    """Tell whether a module's file is there, without importing its package."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None or not rest:
        return spec is not None
    folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
    return any(folder.is_dir() or folder.with_suffix(".py").exists() for folder in folders) or any(
        name.startswith(f"{rest[-1]}.")
        for folder in folders
        if folder.parent.is_dir()
        for name in os.listdir(folder.parent)
    )


def _row(session: Session, plugin: Plugin, state: str, reason: str) -> dict[str, str]:
    facts = {"group": plugin.group, "name": plugin.name, "distribution": plugin.dist, "version": plugin.version}
    return {**facts, "state": state, "reason": reason}


def _details(session: Session, plugin: Plugin) -> dict[str, Any]:
    state, reason = _state(session, plugin)
    detail: dict[str, Any] = {**_row(session, plugin, state, reason), "object": plugin.value}
    loaded = session.catalogue.load(plugin) if state == "ok" else None
    if isinstance(loaded, Broken):
        return {**detail, "state": "broken", "reason": loaded.error.what}
    lines = (getattr(loaded, "help", None) or getattr(loaded, "__doc__", None) or "").strip().splitlines()
    detail["about"] = lines[0] if lines else ""
    for part in ("requires", "wants", "after", "before", "provides", "settings"):
        if plugin.group.endswith(".steps") and hasattr(loaded, part):
            detail[part] = [getattr(item, "name", None) or str(item) for item in getattr(loaded, part)]
    return detail | _metadata(plugin)


def _metadata(plugin: Plugin) -> dict[str, Any]:
    from importlib_metadata import PackageNotFoundError, metadata

    try:
        facts = metadata(plugin.dist)
    except PackageNotFoundError:
        return {}
    licence = facts.get("License-Expression") or facts.get("License") or ""
    return {
        "summary": facts.get("Summary") or "",
        "licence": licence,
        "depends on": facts.get_all("Requires-Dist") or [],
    }


def _print(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = ("group", "name", "distribution", "version", "state", "reason")
    table = [dict(zip(columns, map(str.upper, columns), strict=True)), *rows]
    widths = {column: max(len(row[column]) for row in table) for column in columns[:-1]}
    for row in table:
        cells = [row[column].ljust(widths.get(column, 0)) for column in columns]
        click.echo("  ".join(cells).rstrip())
