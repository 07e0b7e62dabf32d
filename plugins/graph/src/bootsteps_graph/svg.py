"""The picture: boxes in rows, a nested blueprint within the step that runs it, a legend, what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bootsteps_graph.box import LINE, PAD, SMALL, Word, box_of, clean, tag
from bootsteps_graph.layout import Point, lay_out
from bootsteps_graph.measure import width_of, wrapped
from bootsteps_graph.model import ORDER_ONLY, BootGraph, Edge, Step, nested_in, reduced
from bootsteps_graph.theme import ACCENTS, style_sheet

__all__ = ["svg"]

MARGIN = 28.0
#: The shapes to wish for: width / height of the whole, and of what is nested.
ASPECT, NESTED_ASPECT = 1.5, 2.2
#: The strip of left-out steps is at least this wide.
STRIP_MIN = 460.0
GONE, COLUMN_MAX, COLUMN_GAP = 12.0, 330.0, 24.0


@dataclass(slots=True)
class _Part:
    """A piece of the picture, drawn from its own top left corner."""

    width: float = 0.0
    height: float = 0.0
    lines: list[str] = field(default_factory=list)

    def put(self, part: _Part, x: float, y: float, **attributes: object) -> None:
        """Draw another piece in this one."""
        moved = tag(
            "g", ["\n", *(f"{line}\n" for line in part.lines)], transform=f"translate({x:.1f} {y:.1f})", **attributes
        )
        self.lines.append(moved)
        self.width, self.height = max(self.width, x + part.width), max(self.height, y + part.height)


def svg(graphs: Sequence[BootGraph], *, dark: bool = True) -> str:
    """Return an SVG picture. With `dark` it turns dark for readers who prefer that; without, it is light for all."""
    page = _Part()
    y = MARGIN
    names = {graph.blueprint for graph in graphs}
    for graph in [graph for graph in graphs if graph.host is None or graph.host[0] not in names]:
        page.put(_title(graphs, graph), MARGIN, y)
        page.put(_blueprint(graphs, graph, 0), MARGIN, page.height + 18)
    legend = _legend(graphs)
    page.put(legend, MARGIN, page.height + 26)
    strip = _strip(graphs, max(page.width - MARGIN, STRIP_MIN))
    if strip.lines:
        page.put(strip, MARGIN, page.height + 20)
    width, height = page.width + MARGIN, page.height + MARGIN
    ground = tag("rect", width=width, height=height, class_="bg-ground")
    body = [tag("style", style_sheet(dark)), _heads(), ground, *page.lines]
    size = {"width": width, "height": height, "viewBox": f"0 0 {width:.1f} {height:.1f}"}
    label = f"Boot graph: {', '.join(graph.blueprint for graph in graphs)}"
    return tag(
        "svg",
        ["\n", *(f"{line}\n" for line in body)],
        xmlns="http://www.w3.org/2000/svg",
        **size,
        role="img",
        aria_label=label,
    )


def _heads() -> str:
    shape = {"viewBox": "0 0 8 8", "refX": "7.4", "refY": "4", "markerWidth": "8", "markerHeight": "8"}
    head = "M0.5 0.8 L7.6 4 L0.5 7.2 z"
    markers = [
        tag("marker", tag("path", d=head, class_=name), id=name, **shape, markerUnits="userSpaceOnUse", orient="auto")
        for name in ("bg-head", "bg-head-order")
    ]
    return tag("defs", markers)


def _title(graphs: Sequence[BootGraph], graph: BootGraph) -> _Part:
    steps = [step for shown in graphs for step in shown.steps]
    dists = {step.dist for step in steps if step.dist}
    whence = f" from {_count(len(dists), 'distribution')}" if dists else ""
    facts = f"{_count(len(steps), 'step')}{whence}, started in the order of their numbers"
    title = f"{graph.blueprint.capitalize()} blueprint"
    part = _Part(max(width_of(title, 18, bold=True), width_of(facts, SMALL)), 40)
    part.lines += [_text("title", 0, 16, title), _text("small", 0, 36, facts)]
    return part


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _blueprint(graphs: Sequence[BootGraph], graph: BootGraph, depth: int) -> _Part:
    """Draw the steps of one blueprint, and within them those that they run."""
    inside = nested_in(graphs, graph)
    drawn = {step.name: _step(graphs, graph, step, inside.get(step.name), depth) for step in graph.steps}
    edges = reduced(graph)
    sizes = {name: (part.width, part.height) for name, part in drawn.items()}
    layout = lay_out(sizes, [(edge.before, edge.after) for edge in edges], aspect=NESTED_ASPECT if depth else ASPECT)
    whole = _Part(layout.width, layout.height)
    for edge in sorted(edges, key=lambda edge: edge.kind not in ORDER_ONLY):  # needs lie above order
        whole.lines.append(_edge(graph, edge, layout.routes[edge.before, edge.after]))
    for step in graph.steps:
        whole.put(
            drawn[step.name], *layout.boxes[step.name], class_="bg-step", data_step=f"{graph.blueprint}.{step.name}"
        )
    return whole


def _edge(graph: BootGraph, edge: Edge, route: Sequence[Point]) -> str:
    """Straight down beside boxes, curved between rows."""
    x, y = route[0]
    path = f"M{x:.1f} {y:.1f}"
    for number, (x2, y2) in enumerate(route[1:], 1):
        if number == len(route) - 1:
            break
        if number % 2:
            path += f" L{x2:.1f} {y2:.1f}"
        else:
            middle = (y + y2) / 2
            path += f" C{x:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        x, y = x2, y2
    order = edge.kind in ORDER_ONLY
    style = "bg-edge bg-order" if order else f"bg-edge bg-{edge.kind}"
    ends = {"data_from": f"{graph.blueprint}.{edge.before}", "data_to": f"{graph.blueprint}.{edge.after}"}
    title = tag("title", clean(f"{edge.before} → {edge.after} ({edge.kind})"))
    return tag("path", title, class_=style, d=path, marker_end=f"url(#bg-head{'-order' if order else ''})", **ends)


def _step(graphs: Sequence[BootGraph], graph: BootGraph, step: Step, inner: BootGraph | None, depth: int) -> _Part:
    box, tone = box_of(graph, step), depth % len(ACCENTS)
    part = _Part(box.width, box.height)
    frame = _frame(graphs, inner, depth + 1) if inner else None
    if frame:
        part.width, part.height = max(box.width, frame.width + 2 * PAD), box.height + frame.height + PAD
    hosting = " bg-host" if frame else ""
    about = [step.name, step.origin, step.location, *(f"reads {name}" for name, _ in step.settings)]
    part.lines.append(tag("title", clean("; ".join(about))))
    part.lines.append(tag("rect", width=part.width, height=part.height, rx=9, class_=f"bg-box{hosting}"))
    part.lines += [line for word in box.words for line in _word(word, tone)]
    if frame:
        part.put(frame, PAD, box.height)
    return part


def _frame(graphs: Sequence[BootGraph], graph: BootGraph, depth: int) -> _Part:
    """Draw a nested blueprint with a frame around it."""
    content, tone = _blueprint(graphs, graph, depth), depth % len(ACCENTS)
    title = f"{graph.blueprint.capitalize()} blueprint"
    part = _Part(max(content.width, width_of(title, 12, bold=True)) + 2 * 20, content.height + 62)
    part.lines.append(tag("rect", width=part.width, height=part.height, rx=7, class_=f"bg-f{tone}"))
    part.lines.append(_text("part", 20, 24, title))
    part.put(content, (part.width - content.width) / 2, 42)
    return part


def _word(word: Word, tone: int) -> Iterator[str]:
    if word.chip is None:
        yield _text(word.style, word.x, word.y, word.text)
        return
    width, height = word.chip
    style = f"bg-a{tone}" if word.style == "number" else f"bg-s{tone}"
    yield tag("rect", x=word.x, y=word.y, width=width, height=height, rx=height / 2, class_=style)
    yield _text(word.style, word.x + width / 2, word.y + height / 2 + 4, word.text, text_anchor="middle")


def _text(style: str, x: float, y: float, text: str, **attributes: object) -> str:
    return tag("text", clean(text), x=float(x), y=float(y), class_=f"bg-{style}", **attributes)


def _legend(graphs: Sequence[BootGraph]) -> _Part:
    """Explain the lines and chips that occur."""
    kinds = {edge.kind for graph in graphs for edge in reduced(graph)}
    known = [("bg-requires", "requires", {"requires"}), ("bg-wants", "wants: after it, if it is there", {"wants"})]
    part, x = _Part(height=22), 0.0
    for style, text, kind in [*known, ("bg-order", "order only", ORDER_ONLY)]:
        if kinds & kind:
            head = "bg-head-order" if style == "bg-order" else "bg-head"
            line = f"M{x:.1f} 11 L{x + 34:.1f} 11"
            part.lines.append(tag("path", class_=f"bg-edge {style} bg-key", d=line, marker_end=f"url(#{head})"))
            part.lines.append(_text("small", x + 42, 15, text))
            x += 42 + width_of(text, SMALL) + 24
    if any(step.lends for graph in graphs for step in graph.steps):
        part.lines += _word(Word("chip", x, 2, "service", (width_of("service", SMALL) + 16, 18)), 0)
        part.lines.append(_text("small", x + width_of("service", SMALL) + 24, 15, "lent by the step"))
        x += width_of("service", SMALL) + 24 + width_of("lent by the step", SMALL)
    part.width = x
    return part


def _strip(graphs: Sequence[BootGraph], width: float) -> _Part:
    """List what is left out, with the reasons, and what could not be found out; in columns."""
    rows = [(f"{graph.blueprint}: {out.name}", out.reason, out.origin) for graph in graphs for out in graph.left_out]
    rows += [(graph.blueprint, graph.note, "") for graph in graphs if graph.note]
    if not rows:
        return _Part()
    widest = max(width_of(text, GONE, bold=True) for row in rows for text in row)
    columns = max(1, min(len(rows), int((width - 2 * PAD + COLUMN_GAP) / (min(widest, COLUMN_MAX) + COLUMN_GAP))))
    column = (width - 2 * PAD + COLUMN_GAP) / columns - COLUMN_GAP
    part, y = _Part(width), 36.0
    part.lines.append(_text("part", PAD, 24, "Left out"))
    for first in range(0, len(rows), columns):
        cells = [_cell(row, column) for row in rows[first : first + columns]]
        for number, cell in enumerate(cells):
            part.put(cell, PAD + number * (column + COLUMN_GAP), y)
        y += max(cell.height for cell in cells) + 10
    part.height = y + 2
    part.lines.insert(0, tag("rect", width=width, height=part.height, rx=9, class_="bg-out"))
    return part


def _cell(row: Sequence[str], width: float) -> _Part:
    cell = _Part(width)
    for style, text in zip(("gone", "reason", "small"), row, strict=True):
        for line in wrapped(text, GONE * 1.12 if style == "gone" else SMALL, width):
            cell.height += LINE - 1 if line else 0.0
            cell.lines += [_text(style, 0, cell.height - 3, line)] if line else []
    return cell
