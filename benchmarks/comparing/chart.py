"""The picture: for each broker tasks per second and CPU per task, bars with the spread of the repetitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bootsteps_graph.png import png
from bootsteps_graph.theme import FONTS
from comparing.measures import MEASURES, Figure
from comparing.samples import Samples, Spread
from comparing.systems import SYSTEMS
from comparing.table import TITLES, number

__all__ = ["svg", "write"]

WIDTH, MARGIN, NAMES, GAP = 860.0, 24.0, 130.0, 40.0
BAR, ROW, HEAD = 16.0, 26.0, 46.0
#: Room for the number behind the longest bar.
NUMBERS = 62.0
#: What is drawn, side by side.
DRAWN = (("throughput", "rate"), ("throughput", "cpu_ms"))

#: text, soft text, ground, ours, theirs
_LIGHT = ("#1a2430", "#56657a", "#ffffff", "#2a62c9", "#9aa8b9")
_DARK = ("#e6edf3", "#9aa8b8", "#0d1117", "#6ea5ff", "#5b6a7c")


@dataclass(frozen=True)
class Panel:
    """One figure on one broker: a bar for each system, the best first."""

    title: str
    unit: str
    bars: Sequence[tuple[str, Spread]]

    @property
    def height(self) -> float:
        return HEAD + ROW * len(self.bars)


def write(path: Path, samples: Samples) -> None:
    """Draw what was measured as SVG, or as PNG if the file is named so."""
    if path.suffix == ".png":
        path.write_bytes(png(svg(samples, dark=False)))
    else:
        path.write_text(svg(samples) + "\n")


def svg(samples: Samples, *, dark: bool = True) -> str:
    """Return the picture. With `dark` it turns dark for readers who prefer that."""
    lines: list[str] = []
    top = MARGIN
    for row in _rows(samples):
        width = (WIDTH - 2 * MARGIN - GAP * (len(DRAWN) - 1)) / len(DRAWN)
        for number_, panel in enumerate(row):
            lines += _panel(panel, MARGIN + number_ * (width + GAP), top, width)
        top += max(panel.height for panel in row) + MARGIN
    style = f"text{{font-family:{FONTS};font-size:12px}}.title{{font-size:14px;font-weight:bold}}{_rules(_LIGHT)}"
    if dark:
        style += f"@media(prefers-color-scheme:dark){{{_rules(_DARK)}}}"
    size = f'width="{WIDTH:g}" height="{top:g}" viewBox="0 0 {WIDTH:g} {top:g}"'
    label = 'role="img" aria-label="Throughput and CPU beside the peers"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>'
    ground = f'<rect class="ground" width="{WIDTH:g}" height="{top:g}"/>'
    return "\n".join([start, f"<style>{style}</style>", ground, *lines, "</svg>"])


def _rules(colours: Sequence[str]) -> str:
    text, soft, ground, ours, theirs = colours
    parts = {"text": text, ".soft": soft, ".ground": ground, ".ours": ours, ".theirs": theirs}
    return "".join(f"{name}{{fill:{colour}}}" for name, colour in parts.items()) + f".line{{stroke:{text}}}"


def _rows(samples: Samples) -> Iterator[list[Panel]]:
    for broker in dict.fromkeys(broker for _, _, broker in samples.runs):
        panels = [_make(samples, broker, measure, key) for measure, key in DRAWN]
        if all(panel.bars for panel in panels):
            yield panels


def _make(samples: Samples, broker: str, measure: str, key: str) -> Panel:
    figure = next(figure for figure in MEASURES[measure].figures if figure.key == key)
    spreads = [(system.title, samples.spread((measure, name, broker), figure)) for name, system in SYSTEMS.items()]
    bars = [(title, spread) for title, spread in spreads if spread]
    bars.sort(key=lambda bar: bar[1].median, reverse=figure.more)
    return Panel(f"{TITLES[broker]}: {_title(figure)}", figure.unit, bars)


def _title(figure: Figure) -> str:
    return "CPU" if figure.key.startswith("cpu") else "no-op tasks"


def _panel(panel: Panel, left: float, top: float, width: float) -> Iterator[str]:
    better = "more is better" if panel.unit == "tasks/s" else "less is better"
    yield f'<text class="title" x="{left:g}" y="{top + 14:g}">{escape(panel.title)}</text>'
    yield f'<text class="soft" x="{left:g}" y="{top + 32:g}">{escape(panel.unit)}, {better}</text>'
    scale = (width - NAMES - NUMBERS) / (max(spread.high for _, spread in panel.bars) or 1.0)
    for place, (title, spread) in enumerate(panel.bars):
        yield from _bar(title, spread, left, top + HEAD + ROW * place, scale)


def _bar(title: str, spread: Spread, left: float, top: float, scale: float) -> Iterator[str]:
    start, middle, base = left + NAMES, top + BAR / 2, top + BAR - 4
    length, low, high = spread.median * scale, start + spread.low * scale, start + spread.high * scale
    kind = "ours" if title == SYSTEMS["ours"].title else "theirs"
    yield f'<text x="{start - 8:g}" y="{base:g}" text-anchor="end">{escape(title)}</text>'
    yield f'<rect class="{kind}" x="{start:g}" y="{top:g}" width="{length:.1f}" height="{BAR:g}" rx="2"/>'
    yield f'<path class="line" d="M{low:.1f} {middle:g}H{high:.1f}"/>'
    yield f'<text x="{max(high, start + length) + 6:.1f}" y="{base:g}">{number(spread.median)}</text>'
