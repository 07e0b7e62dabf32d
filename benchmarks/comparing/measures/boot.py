"""The boot graph of 10,000 steps and 40,000 requirements: ours alone, since nobody else resolves one from plugins."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from comparing.cell import Cell
from comparing.measures.base import Figure, Figures, Measure, Scale

__all__ = ["MEASURES"]

SCRIPT = Path(__file__).resolve().parent.parent.parent / "boot_graph.py"


def _run(cell: Cell, scale: Scale) -> Figures:
    command = [str(cell.bin / "python"), str(SCRIPT), "--steps", "5000", "10000", "--repeat", "3", "--json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"ms": json.loads(shown)["sizes"][-1]["seconds"] * 1000}


MEASURES = (
    Measure(
        "boot",
        "resolving a boot graph of 10,000 steps",
        (Figure("ms", "boot graph, 10,000 steps", "ms"),),
        _run,
        ours_alone=True,
    ),
)
