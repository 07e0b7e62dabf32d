"""One step as a box of the picture: its text, measured, and the services that it lends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bootsteps_graph.measure import width_of, wrapped
from bootsteps_graph.model import BootGraph, Step

__all__ = ["Box", "Word", "box_of", "clean", "tag"]

NAME, SMALL = 14.0, 11.0
PAD, LINE = 12.0, 16.0
#: Lines of small text are broken here.
TEXT_MAX = 250.0
CHIP_HEIGHT, CHIP_PAD, CHIP_GAP = 18.0, 8.0, 6.0


@dataclass(frozen=True, slots=True)
class Word:
    """Text on a box: its class, and the point at which it begins, on its base line."""

    style: str
    x: float
    y: float
    text: str
    #: Widths and heights of a chip around it; None = bare text.
    chip: tuple[float, float] | None = None


@dataclass(slots=True)
class Box:
    """The head of a step: its words and the room that they take."""

    width: float = 0.0
    height: float = 0.0
    words: list[Word] = field(default_factory=list)

    def add(self, style: str, x: float, text: str, size: float) -> None:
        """Write a line of text beneath what is there."""
        self.height += LINE
        self.words.append(Word(style, x, self.height - 4, text))
        self.width = max(self.width, x + width_of(text, size, bold=style == "name") + PAD)


def box_of(graph: BootGraph, step: Step) -> Box:
    """Return the box of a step: number and name, distribution, what it takes from around, what it lends."""
    box = Box(height=PAD - 2)
    number = str(step.number)
    badge = max(20.0, width_of(number, SMALL, bold=True) + 10)
    box.words.append(Word("number", PAD, box.height, number, (badge, 20.0)))
    box.height += 2
    box.add("name", PAD + badge + 8, step.name, NAME)
    box.height += 4
    for line in wrapped(step.package, SMALL, TEXT_MAX):
        box.add("small", PAD, line, SMALL)
    for around, services in _from_around(graph, step):
        for line in wrapped(f"from {around}: {', '.join(services)}", SMALL, TEXT_MAX):
            box.add("small", PAD, line, SMALL)
    _add_chips(box, step.lends)
    box.height += PAD - 4
    return box


def _from_around(graph: BootGraph, step: Step) -> list[tuple[str, list[str]]]:
    met = [(need.met_by[0], need.name) for need in step.of_kind("requires", "wants") if need.met_by]
    around = sorted({blueprint for blueprint, _ in met if blueprint != graph.blueprint})
    return [(blueprint, sorted({name for where, name in met if where == blueprint})) for blueprint in around]


def _add_chips(box: Box, services: Sequence[str]) -> None:
    if not services:
        return
    x, y = PAD, box.height + 5
    for service in services:
        width = width_of(service, SMALL) + 2 * CHIP_PAD
        if x > PAD and x + width > TEXT_MAX:
            x, y = PAD, y + CHIP_HEIGHT + CHIP_GAP
        box.words.append(Word("chip", x, y, service, (width, CHIP_HEIGHT)))
        x += width + CHIP_GAP
        box.width = max(box.width, x - CHIP_GAP + PAD)
    box.height = y + CHIP_HEIGHT + 4


def tag(name: str, content: str | Sequence[str] | None = None, **attributes: object) -> str:
    """Return an XML element; numbers are rounded to a tenth, a trailing `_` and `_` inside are for Python's sake."""
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{clean(_plain(value))}"' for key, value in attributes.items()
    )
    if content is None:
        return f"<{name}{text}/>"
    return f"<{name}{text}>{content if isinstance(content, str) else ''.join(content)}</{name}>"


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def clean(text: str) -> str:
    """Escape text for XML, and replace what XML cannot hold."""
    kept = "".join(c if c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff" else " " for c in text)
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
