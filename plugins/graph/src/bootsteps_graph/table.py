"""The table: one line for each step, good for reading and for grep. On a terminal long cells go on in the next line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from bootsteps_graph.model import BootGraph, Step, nested_in

__all__ = ["needs_of", "table"]


#: The columns that may be broken keep at least this width.
NARROWEST = 20


def table(graphs: Sequence[BootGraph], room: int | None = None) -> str:
    """Return the steps in boot order (a nested blueprint's inside its host), their settings, and what is left out.

    `room` is the number of columns to fit into, if that can be; None = no limit, and one line for each step.
    """
    names = {graph.blueprint for graph in graphs}
    outermost = [graph for graph in graphs if graph.host is None or graph.host[0] not in names]
    rows: list[Sequence[str]] = [("#", "STEP", "NEEDS", "LENDS", "FROM")]
    rows += [row for graph in outermost for row in _steps(graphs, graph, "")]
    parts = [_aligned(rows, room)]
    settings = [
        (name, ", ".join(flags), step.name) for graph in graphs for step in graph.steps for name, flags in step.settings
    ]
    if settings:
        parts.append(_aligned([("SETTING", "OPTION", "READ BY"), *sorted(settings)], room))
    left_out = [(out.name, out.reason, out.origin) for graph in graphs for out in graph.left_out]
    if left_out:
        parts.append(_aligned([("LEFT OUT", "WHY", "FROM"), *left_out], room))
    parts += [f"note: {graph.blueprint}: {graph.note}" for graph in graphs if graph.note]
    return "\n\n".join(parts)


def _steps(graphs: Sequence[BootGraph], graph: BootGraph, prefix: str) -> Iterator[tuple[str, ...]]:
    inside = nested_in(graphs, graph)
    for step in graph.steps:
        number = f"{prefix}{step.number}"
        yield number, step.name, needs_of(step), ", ".join(step.lends) or "-", _from(step)
        if step.name in inside:
            yield from _steps(graphs, inside[step.name], f"{number}.")


def needs_of(step: Step) -> str:
    """Return what a step needs and where it wants to stand, in one line."""
    parts = [", ".join(need.name for need in step.of_kind("requires"))]
    for kind in ("wants", "after", "before"):
        names = [need.name if need.met_by else f"{need.name} (absent)" for need in step.of_kind(kind)]
        parts.append(f"{kind} {', '.join(names)}" if names else "")
    parts += [word for word in ("first", "last") if getattr(step, word)]
    return "; ".join(filter(None, parts)) or "-"


def _from(step: Step) -> str:
    """Name the entry point too where it is not called like the step."""
    point = step.entry_point.partition(":")[2]
    return step.package + (f" ({point})" if point not in ("", step.name) else "")


def _aligned(rows: Sequence[Sequence[str]], room: int | None = None) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while room and sum(widths) + 2 * (len(widths) - 1) > room:
        wide = [column for column in range(2, len(widths)) if widths[column] > NARROWEST]  # names stay whole
        if not wide:
            break
        widths[max(wide[:-1] or wide, key=widths.__getitem__)] -= 1  # whence a step comes is broken last
    lines: list[str] = []
    for row in rows:
        cells = [wrap(cell, width) if room else [cell] for cell, width in zip(row, widths, strict=True)]
        lines += [_line(line, widths) for line in zip_longest(*cells, fillvalue="")]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
