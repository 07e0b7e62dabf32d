"""`kernel graph`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bootsteps import KernelError
from bootsteps.cli import BootCommand, Session
from bootsteps.errors import UnknownName, did_you_mean
from bootsteps_graph.look import look, stdout_to_stderr
from bootsteps_graph.model import BootGraph

__all__ = ["graph"]

ENDINGS = {
    ".txt": "table", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg",
    ".png": "png", ".json": "json",
}  # fmt: skip
FORMATS = ("table", "tree", "mermaid", "dot", "svg", "png", "json")


class _GraphCommand(BootCommand):
    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        with stdout_to_stderr():  # imports the application and the plugins
            return super().get_params(ctx)


@click.command(cls=_GraphCommand)
@click.option(
    "--blueprint", default="all", show_default=True, metavar="NAME", help="Show one: worker, consumer, ...; or all."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="How to show it.  [default: by the ending of FILE, else table]",
)
@click.option("--why", metavar="STEP", help="Say why this step is there, or why not.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE.")
@click.option("-n", "--hostname", hidden=True)
@click.pass_obj
def graph(
    session: Session,
    blueprint: str,
    form: str | None,
    why: str | None,
    output: Path | None,
    hostname: str | None,
) -> None:
    """Show the graph that would boot with these options, and start nothing.

    Put `graph` in the place of `worker` in your command line: it takes the same options.

    \b
    kernel graph -A proj -P solo
    kernel graph -A proj --format tree --blueprint consumer
    kernel graph -A proj --why Pool
    kernel graph -A proj -o boot.svg
    """
    if why and form:
        raise KernelError("--why answers in plain text", (f"--format {form}",), "leave --format away")
    form = form or ("table" if why else _format_of(output))
    if form == "png" and output is None and _is_terminal():
        raise KernelError("a PNG picture is not for a terminal", ("--format png",), "kernel graph -o boot.png")
    session.extra["hostname"] = hostname
    graphs = look(session, hostname)
    chosen = _chosen(graphs, blueprint)
    if why:
        from bootsteps_graph.why import explain

        _write(explain(graphs, why, [graph.blueprint for graph in chosen]), output)
    else:
        _write(_render(chosen, form, _room(output)), output)


def _format_of(output: Path | None) -> str:
    if output is None:
        return "table"
    if output.suffix.lower() not in ENDINGS:
        known = ", ".join(sorted(ENDINGS))
        what = f"the ending of {output.name!r} does not tell a format"
        raise UnknownName(what, (f"-o {output}",), f"give --format, or an ending of {known}")
    return ENDINGS[output.suffix.lower()]


def _chosen(graphs: list[BootGraph], blueprint: str) -> list[BootGraph]:
    names = [graph.blueprint for graph in graphs]
    if blueprint != "all" and blueprint not in names:
        near = did_you_mean(blueprint, [*names, "all"]) or f"choose one of {', '.join([*names, 'all'])}"
        raise UnknownName(f"nothing here boots a blueprint {blueprint!r}", (f"--blueprint {blueprint}",), near)
    return [graph for graph in graphs if blueprint in ("all", graph.blueprint)]


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _room(output: Path | None) -> int | None:
    """Return how many columns there are; None = no limit, for a file or another program."""
    return shutil.get_terminal_size().columns if output is None and _is_terminal() else None


def _render(graphs: Sequence[BootGraph], form: str, room: int | None) -> str | bytes:
    from bootsteps_graph import table, text

    if form == "table":
        return table.table(graphs, room)
    if form == "tree":
        from bootsteps_graph.tree import tree

        return tree(graphs)
    if form in ("svg", "png"):
        from bootsteps_graph.svg import svg

        if form == "svg":
            return svg(graphs)
        from bootsteps_graph.png import png

        return png(svg(graphs, dark=False))
    return {"json": text.as_json, "mermaid": text.mermaid, "dot": text.dot}[form](graphs)


def _write(answer: str | bytes, output: Path | None) -> None:
    if output is None:
        click.echo(answer, nl=isinstance(answer, str))
        return
    try:
        output.write_bytes(answer if isinstance(answer, bytes) else f"{answer}\n".encode())
    except OSError as exc:
        what = f"cannot write {str(output)!r}: {exc.strerror}"
        raise KernelError(what, (f"-o {output}",), "name a file in a folder that is yours") from exc
