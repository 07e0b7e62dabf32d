"""A table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

__all__ = ["show"]


def show(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their heads; numbers stand to the right."""
    cells = [list(heads), *([_text(cell) for cell in row] for row in rows)]
    right = [all(row[at].isdigit() for row in cells[1:]) and len(cells) > 1 for at in range(len(heads))]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    for row in cells:
        pairs = zip(row, widths, right, strict=True)
        click.echo("  ".join(cell.rjust(width) if end else cell.ljust(width) for cell, width, end in pairs).rstrip())


def _text(cell: object) -> str:
    return "-" if cell is None or cell == "" else str(cell)
