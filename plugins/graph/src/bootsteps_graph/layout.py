"""A layered drawing of a directed acyclic graph: boxes in rows, edges that run down between them, never through one.

The classic four steps: rows, order within the rows, places, routes. An edge that passes a row gets a dummy there, which
keeps the way free (Sugiyama, Tagawa and Toda 1981). Lengths are pixels; y grows downwards.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bootsteps_graph.ordering import crossings, ordered

__all__ = ["Layout", "Point", "Size", "lay_out", "spread"]

Size = tuple[float, float]
Point = tuple[float, float]

_Ports = dict[tuple[str, str], float]
#: Where the other end is, where this one would like to be, and the edge.
_End = tuple[float, float, tuple[str, str]]

#: Free space between two boxes of a row, between a box and a passing edge, between two passing edges.
BOX_GAP, PASS_GAP, EDGE_GAP = 34.0, 22.0, 13.0
#: From row to row: at least, and at most where edges run far to the side.
ROW_GAP, ROW_GAP_MAX = 46.0, 84.0
#: The corners of a box have no arrows.
CORNER = 16.0


@dataclass(slots=True)
class Layout:
    """Where everything is: the top left corner of each box, and for each edge the points at which it is vertical."""

    width: float = 0.0
    height: float = 0.0
    boxes: dict[str, Point] = field(default_factory=dict)
    #: Straight down from point 0 to 1, a curve to 2, straight down to 3, and so on; always an even number.
    routes: dict[tuple[str, str], list[Point]] = field(default_factory=dict)


@dataclass(slots=True)
class _Rows:
    """The rows of names (dummies are called `edge#row`), with links from each row to the next."""

    rows: list[list[str]]
    links: list[list[tuple[str, str]]]
    chains: dict[tuple[str, str], list[str]]


def lay_out(sizes: Mapping[str, Size], edges: Sequence[tuple[str, str]], *, aspect: float = 1.5) -> Layout:
    """Return the best of several layouts, which differ in the width of their rows.

    `sizes` are in an order in which every edge goes forward. `aspect` is the wish for width / height.
    """
    if not sizes:
        return Layout()
    widest, total = max(width for width, _ in sizes.values()), sum(width + BOX_GAP for width, _ in sizes.values())
    limits = {max(widest, total / parts) for parts in range(1, 13)} if len(sizes) <= 120 else {max(widest, total / 12)}
    tried = [_try(sizes, edges, limit, aspect) for limit in sorted(limits)]
    return min(tried, key=lambda scored: scored[0])[1]


def _try(
    sizes: Mapping[str, Size], edges: Sequence[tuple[str, str]], limit: float, aspect: float
) -> tuple[float, Layout]:
    rows = _with_dummies(_rows(sizes, edges, limit), edges)
    rows.rows = ordered(rows.rows, rows.links)
    layout = _place(rows, sizes)
    across = sum(abs(a[0] - b[0]) for route in layout.routes.values() for a, b in pairwise(route))
    down = sum(route[-1][1] - route[0][1] for route in layout.routes.values())
    boxes = sum(width * height for width, height in sizes.values())
    shape = abs(math.log(layout.width / layout.height / aspect))
    mess = crossings(rows.rows, rows.links) / max(len(edges), 1)
    length = (across + down) / (max(len(edges), 1) * 300)
    return layout.width * layout.height / boxes / 5 + 1.5 * shape + mess + length, layout


def _rows(sizes: Mapping[str, Size], edges: Sequence[tuple[str, str]], limit: float) -> list[list[str]]:
    """Give each box the first row beneath all that precede it in which there is room; then draw it to its followers."""
    before, behind = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for here, there in edges:
        before[there].append(here)
        behind[here].append(there)
    room, row_of = defaultdict[int, float](float), dict[str, int]()

    def settle(name: str, choices: Iterator[int] | Sequence[int]) -> None:
        width = sizes[name][0] + BOX_GAP
        row_of[name] = next(row for row in choices if not room[row] or room[row] + width <= limit + BOX_GAP)
        room[row_of[name]] += width

    for name in sizes:
        first = max((row_of[other] + 1 for other in before[name]), default=0)
        settle(name, range(first, first + len(sizes) + 1))
    for name in reversed(list(sizes)):
        if len(behind[name]) > len(before[name]) or (behind[name] and not before[name]):
            now, last = row_of[name], min(row_of[other] for other in behind[name]) - 1
            left = room[now] - sizes[name][0] - BOX_GAP
            room[now] = left if left > 0.5 else 0.0  # empty, but for what rounding leaves
            settle(name, [row for row in range(last, now, -1) if room[row]] + [now])
    used = sorted(set(row_of.values()))
    return [[name for name in sizes if row_of[name] == row] for row in used]


def _with_dummies(rows: list[list[str]], edges: Sequence[tuple[str, str]]) -> _Rows:
    row_of = {name: number for number, row in enumerate(rows) for name in row}
    full = _Rows([list(row) for row in rows], [[] for _ in rows[1:]], {})
    for index, (here, there) in enumerate(edges):
        passed = range(row_of[here] + 1, row_of[there])
        chain = [here, *(f"\0{index}#{row}" for row in passed), there]
        for row, dummy in zip(passed, chain[1:], strict=False):
            full.rows[row].append(dummy)
        for row, link in enumerate(pairwise(chain), row_of[here]):
            full.links[row].append(link)
        full.chains[here, there] = chain
    return full


def _place(rows: _Rows, sizes: Mapping[str, Size]) -> Layout:
    center = _centers(rows, sizes)
    left = min(center[name] - _width(name, sizes) / 2 for row in rows.rows for name in row)
    center = {name: x - left for name, x in center.items()}
    tops, bottoms = _heights(rows, sizes, center)
    row_of = {name: number for number, row in enumerate(rows.rows) for name in row}
    layout = Layout(max(center[name] + _width(name, sizes) / 2 for row in rows.rows for name in row), bottoms[-1])
    layout.boxes = {name: (center[name] - sizes[name][0] / 2, tops[row_of[name]]) for name in sizes}
    outgoing, incoming = _ports(rows, sizes, center)
    for (here, there), chain in rows.chains.items():
        start = (outgoing[here, there], layout.boxes[here][1] + sizes[here][1])
        route = [start, (start[0], bottoms[row_of[here]])]
        for dummy in chain[1:-1]:
            route += [(center[dummy], tops[row_of[dummy]]), (center[dummy], bottoms[row_of[dummy]])]
        end = (incoming[here, there], tops[row_of[there]])
        layout.routes[here, there] = [*route, end, end]
    return layout


def _width(name: str, sizes: Mapping[str, Size]) -> float:
    return sizes[name][0] if name in sizes else 0.0


def _apart(one: str, other: str, sizes: Mapping[str, Size]) -> float:
    """Return the least distance of the centres of two neighbours in a row."""
    boxes = (one in sizes) + (other in sizes)
    return (_width(one, sizes) + _width(other, sizes)) / 2 + (EDGE_GAP, PASS_GAP, BOX_GAP)[boxes]


def _centers(rows: _Rows, sizes: Mapping[str, Size]) -> dict[str, float]:
    """Draw every box towards its neighbours above and below, row by row, and long edges straight with more force."""
    center: dict[str, float] = {}
    for row in rows.rows:
        x = 0.0
        for before, name in zip([row[0], *row], row, strict=False):
            x += _apart(before, name, sizes) if before != name else 0.0
            center[name] = x
        for name in row:
            center[name] -= x / 2
    above, below = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for links in rows.links:
        for here, there in links:
            above[there].append(here)
            below[here].append(there)
    turns = [(above, None), (below, None)] * 6 + [(above, below)] * 8
    for turn, (one, other) in enumerate(turns):
        for row in rows.rows if turn % 2 == 0 else rows.rows[::-1]:
            wishes = [_wish(name, [*one[name], *(other[name] if other else ())], center, sizes) for name in row]
            gaps = [_apart(a, b, sizes) for a, b in pairwise(row)]
            center.update(zip(row, spread(wishes, gaps), strict=True))
    return center


def _wish(
    name: str, neighbours: list[str], center: Mapping[str, float], sizes: Mapping[str, Size]
) -> tuple[float, float]:
    """Return where a box or a dummy would like to be, and how much."""
    if not neighbours:
        return center[name], 0.1
    force = [
        1.0 if other in sizes and name in sizes else 3.0 if other in sizes or name in sizes else 9.0
        for other in neighbours
    ]
    return sum(f * center[other] for f, other in zip(force, neighbours, strict=True)) / sum(force), sum(force)


def spread(wishes: Sequence[tuple[float, float]], gaps: Sequence[float]) -> list[float]:
    """Return places in this order, at least `gaps` apart, as near to the wishes (place, weight) as can be.

    Least squares under order: pool adjacent violators (Ayer and others 1955).
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for (wish, weight), offset in zip(wishes, offsets, strict=False):
        mean, count = wish - offset, 1
        while pools and pools[-1][0] > mean:
            other, more, many = pools.pop()
            mean, weight, count = (mean * weight + other * more) / (weight + more), weight + more, count + many
        pools.append((mean, weight, count))
    flat = [mean for mean, _, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(flat, offsets, strict=False)]


def _heights(rows: _Rows, sizes: Mapping[str, Size], center: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Return the top and the bottom of each row; rows stand further apart where edges run far to the side."""
    tops, bottoms, y = [], [], 0.0
    for number, row in enumerate(rows.rows):
        tops.append(y)
        bottoms.append(y + max((sizes[name][1] for name in row if name in sizes), default=0.0))
        far = (
            max((abs(center[a] - center[b]) for a, b in rows.links[number]), default=0.0)
            if number < len(rows.links)
            else 0.0
        )
        y = bottoms[-1] + min(ROW_GAP_MAX, ROW_GAP + far / 12)
    return tops, bottoms


def _ports(rows: _Rows, sizes: Mapping[str, Size], center: Mapping[str, float]) -> tuple[_Ports, _Ports]:
    """Return where each edge leaves and enters its boxes: straight above or below where it goes, if it can."""
    leaving, entering = defaultdict[str, list[_End]](list), defaultdict[str, list[_End]](list)
    for (here, there), chain in rows.chains.items():
        for ends, name, other in ((leaving, here, chain[1]), (entering, there, chain[-2])):
            low, high = _side(name, sizes, center)
            far_low, far_high = _side(other, sizes, center)
            left, right = max(low, far_low), min(high, far_high)
            wish = (left + right) / 2 if left <= right else low if far_high < low else high
            ends[name].append((center[other], wish, (here, there)))
    return _at_sides(leaving, sizes, center), _at_sides(entering, sizes, center)


def _side(name: str, sizes: Mapping[str, Size], center: Mapping[str, float]) -> tuple[float, float]:
    """Return between where edges may reach a box; a dummy is a point."""
    reach = max(_width(name, sizes) / 2 - CORNER, 0.0)
    return center[name] - reach, center[name] + reach


def _at_sides(ends: Mapping[str, list[_End]], sizes: Mapping[str, Size], center: Mapping[str, float]) -> _Ports:
    ports: _Ports = {}
    for name, found in ends.items():
        found.sort()
        low, high = _side(name, sizes, center)
        gap = min(14.0, (high - low) / max(len(found) - 1, 1))
        places = spread([(wish, 1.0) for _, wish, _ in found], [gap] * (len(found) - 1))
        for number, (place, (_, _, edge)) in enumerate(zip(places, found, strict=True)):
            ports[edge] = min(max(place, low + number * gap), high - (len(found) - 1 - number) * gap)
    return ports
