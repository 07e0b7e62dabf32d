"""The drawing keeps its promises on random graphs: nothing overlaps, no edge runs through a box."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest

from bootsteps_graph.layout import BOX_GAP, Layout, Point, Size, lay_out, spread
from bootsteps_graph.measure import width_of, wrapped
from bootsteps_graph.ordering import crossings, ordered


def made_up(seed: int) -> tuple[dict[str, Size], list[tuple[str, str]]]:
    rnd = random.Random(seed)
    names = [f"n{i}" for i in range(rnd.randint(1, 28))]
    sizes = {name: (rnd.uniform(40, 300), rnd.uniform(30, rnd.choice([90, 400]))) for name in names}
    density = rnd.choice([0.03, 0.1, 0.3])
    return sizes, [pair for pair in combinations(names, 2) if rnd.random() < density]


def points(route: list[Point]) -> Iterator[Point]:
    """Walk along a route as it is drawn."""
    for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(route)):
        for part in range(21):
            t = part / 20
            s = 3 * t * t - 2 * t**3 if number % 2 else t  # the curve's control points lie half way down
            y = (
                y1 + (y2 - y1) * (1.5 * t * (1 - t) ** 2 + 1.5 * t * t * (1 - t) + t**3)
                if number % 2
                else y1 + (y2 - y1) * t
            )
            yield x1 + (x2 - x1) * s, y


def within(point: Point, corner: Point, size: Size, margin: float = 0.5) -> bool:
    (x, y), (left, top), (width, height) = point, corner, size
    return left + margin < x < left + width - margin and top + margin < y < top + height - margin


@pytest.mark.parametrize("seed", range(40))
def test_no_boxes_overlap_and_no_edge_runs_through_a_box(seed: int) -> None:
    sizes, edges = made_up(seed)
    layout = lay_out(sizes, edges)
    for one, other in combinations(sizes, 2):
        (x1, y1), (x2, y2) = layout.boxes[one], layout.boxes[other]
        apart = x1 + sizes[one][0] <= x2 - BOX_GAP + 1e-6 or x2 + sizes[other][0] <= x1 - BOX_GAP + 1e-6
        assert apart or y1 + sizes[one][1] < y2 or y2 + sizes[other][1] < y1, (one, other)
    assert set(layout.routes) == set(edges)
    for edge, route in layout.routes.items():
        for point in points(route):
            assert [name for name in sizes if within(point, layout.boxes[name], sizes[name])] == [], edge


@pytest.mark.parametrize("seed", range(10))
def test_edges_go_from_the_bottom_of_a_box_down_to_the_top_of_another(seed: int) -> None:
    sizes, edges = made_up(seed)
    layout = lay_out(sizes, edges)
    for (here, there), route in layout.routes.items():
        (left, top), (width, height) = layout.boxes[here], sizes[here]
        assert left <= route[0][0] <= left + width
        assert route[0][1] == pytest.approx(top + height)
        assert layout.boxes[there][0] <= route[-1][0] <= layout.boxes[there][0] + sizes[there][0]
        assert route[-1][1] == pytest.approx(layout.boxes[there][1])
        assert all(a[1] <= b[1] for a, b in pairwise(route))
    assert_inside(layout, sizes)


def assert_inside(layout: Layout, sizes: dict[str, Size]) -> None:
    for name, (x, y) in layout.boxes.items():
        assert -0.01 <= x <= layout.width - sizes[name][0] + 0.01
        assert -0.01 <= y <= layout.height - sizes[name][1] + 0.01
    for route in layout.routes.values():
        assert all(-0.01 <= x <= layout.width + 0.01 for x, _ in route)


def test_the_same_graph_is_drawn_the_same() -> None:
    sizes, edges = made_up(3)
    assert lay_out(sizes, edges) == lay_out(dict(sizes), list(edges))


def test_nothing_is_drawn_as_nothing() -> None:
    assert lay_out({}, []) == Layout()


def test_a_chain_is_a_straight_line() -> None:
    layout = lay_out({"a": (100, 50), "b": (200, 50), "c": (80, 50)}, [("a", "b"), ("b", "c")])
    assert {round(x, 6) for route in layout.routes.values() for x, _ in route} == {100.0}


def test_crossings_that_can_be_avoided_are() -> None:
    rows = [["a", "b", "c"], ["x", "y", "z"]]
    links = [[("a", "z"), ("b", "y"), ("c", "x")]]
    assert crossings(rows, links) == 3
    assert crossings(ordered(rows, links), links) == 0


def test_spread_is_the_nearest_with_the_gaps() -> None:
    assert spread([(0.0, 1.0), (1.0, 1.0)], [10.0]) == pytest.approx([-4.5, 5.5])
    assert spread([(0.0, 1.0), (50.0, 1.0)], [10.0]) == [0.0, 50.0]
    assert spread([(0.0, 3.0), (0.0, 1.0)], [8.0]) == pytest.approx([-2.0, 6.0])


def test_text_is_broken_within_the_limit() -> None:
    lines = wrapped("from worker: hub, pool and " + "x" * 90, 11, 120)
    assert all(width_of(line, 11) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == "fromworker:hub,pooland" + "x" * 90
    assert width_of("広", 10) >= 10 > width_of("i", 10)
