"""The picture, taken apart again."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bootsteps import KernelError
from bootsteps_graph.measure import width_of
from bootsteps_graph.model import BootGraph, Edge, LeftOut, Step
from bootsteps_graph.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


GONE = "its include_if says no"


def made_up(seed: int, blueprint: str, count: int, host: tuple[str, str] | None = None) -> BootGraph:
    """A blueprint of steps with names short and long, services none and many, and random edges."""
    rnd = random.Random(f"{blueprint}{seed}")
    names = [f"{rnd.choice(['Hub', 'Event loop', 'Dead letter office <&>', '広い'])} {i}" for i in range(count)]
    edges = [
        Edge(a, b, rnd.choice(["requires", "requires", "wants", "after", "last"]))
        for a, b in combinations(names, 2)
        if rnd.random() < 2.5 / count
    ]
    steps = [
        Step(
            number, name, "made.up:Step", "worker.steps:x", rnd.choice(["dist", "a-distribution-with-a-long-name"]),
            "1.0", "worker.steps:x", (), tuple(f"service_{i}" for i in range(rnd.choice([0, 1, 2, 7]))), (), None, None,
            False, False, False, False,
        )
        for number, name in enumerate(names, 1)
    ]  # fmt: skip
    out = tuple(LeftOut(f"Gone {i}", "worker.steps:Gone (dist 1.0)", GONE) for i in range(seed % 4))
    return BootGraph(blueprint, tuple(steps), tuple(sorted(edges)), out, host)


@dataclass
class Box:
    name: str
    left: float
    top: float
    width: float
    height: float

    def has(self, x: float, y: float, margin: float = 0.3) -> bool:
        return (
            self.left + margin < x < self.left + self.width - margin
            and self.top + margin < y < self.top + self.height - margin
        )

    def apart(self, other: Box) -> bool:
        beside = self.left + self.width <= other.left or other.left + other.width <= self.left
        return beside or self.top + self.height <= other.top or other.top + other.height <= self.top


class Picture:
    """Boxes, edges and texts of an SVG in the coordinates of the page."""

    def __init__(self, text: str) -> None:
        self.root = ElementTree.fromstring(text)
        self.boxes: dict[str, Box] = {}
        self.around: dict[str, list[str]] = {}
        self.edges: list[tuple[str, str, list[tuple[float, float]]]] = []
        self.texts: list[tuple[float, float, float]] = []  # left, right, base line
        self._walk(self.root, 0.0, 0.0, [])

    def _walk(self, element: Any, x: float, y: float, hosts: list[str]) -> None:
        if move := re.match(r"translate\((\S+) (\S+)\)", element.get("transform", "")):
            x, y = x + float(move[1]), y + float(move[2])
        if name := element.get("data-step"):
            rect = element.find(f"{SVG}rect")
            self.boxes[name] = Box(name, x, y, float(rect.get("width")), float(rect.get("height")))
            self.around[name], hosts = hosts, [*hosts, name]
        if element.get("data-from"):
            self.edges.append((element.get("data-from"), element.get("data-to"), _along(element.get("d"), x, y)))
        if element.tag == f"{SVG}text":
            self._text(element, x + float(element.get("x")), y + float(element.get("y")))
        for child in element:
            self._walk(child, x, y, hosts)

    def _text(self, element: Any, x: float, y: float) -> None:
        style = element.get("class")
        size = {"bg-title": 18, "bg-name": 14, "bg-part": 12, "bg-gone": 12}.get(style, 11)
        width = width_of(
            element.text or "", size, bold=style in ("bg-title", "bg-name", "bg-part", "bg-gone", "bg-number")
        )
        left = x - width / 2 if element.get("text-anchor") == "middle" else x
        self.texts.append((left, left + width, y))


def _along(path: str, dx: float, dy: float) -> list[tuple[float, float]]:
    """Points of a path made of M, L and C, close together."""
    found: list[tuple[float, float]] = []
    for letter, numbers in re.findall(r"([MLC])([^MLC]*)", path):
        values = [float(number) for number in numbers.split()]
        ends = [(x + dx, y + dy) for x, y in zip(values[::2], values[1::2], strict=True)]
        if letter == "M":
            found += ends
            continue
        here = found[-1]
        controls = [here, *ends] if letter == "C" else [here, here, ends[0], ends[0]]
        for part in range(1, 25):
            t = part / 24
            weight = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            found.append(
                (
                    sum(w * p[0] for w, p in zip(weight, controls, strict=True)),
                    sum(w * p[1] for w, p in zip(weight, controls, strict=True)),
                )
            )
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_picture_of_nested_blueprints_is_clean(seed: int) -> None:
    worker = made_up(seed, "worker", 4 + 2 * seed)
    consumer = made_up(seed, "consumer", 2 + seed, ("worker", worker.steps[-1].name))
    picture = Picture(svg([worker, consumer]))
    assert set(picture.boxes) == {f"{graph.blueprint}.{s.name}" for graph in (worker, consumer) for s in graph.steps}
    for one, other in combinations(picture.boxes.values(), 2):
        nested = one.name in picture.around[other.name] or other.name in picture.around[one.name]
        assert nested or one.apart(other), (one, other)
    assert picture.edges
    for here, there, path in picture.edges:
        allowed = {*picture.around[here], *picture.around[there]}
        for x, y in path:
            assert [box.name for box in picture.boxes.values() if box.has(x, y) and box.name not in allowed] == []


@pytest.mark.parametrize("seed", range(6))
def test_no_text_leaves_the_page_or_its_box(seed: int) -> None:
    worker = made_up(seed, "worker", 5 + seed)
    picture = Picture(svg([worker]))
    width, height = float(picture.root.get("width", 0)), float(picture.root.get("height", 0))
    assert all(left >= 0 and right <= width and 0 < base < height for left, right, base in picture.texts)
    for left, right, base in picture.texts:
        for box in picture.boxes.values():
            if box.has(left, base):
                assert right <= box.left + box.width


def test_light_and_dark_are_both_readable() -> None:
    text = svg([made_up(1, "worker", 3)])
    assert "@media (prefers-color-scheme:dark)" in text
    assert "@media" not in svg([made_up(1, "worker", 3)], dark=False)
    from bootsteps_graph.theme import _COLOURS, ACCENTS

    for theme in (0, 1):
        ground, box = _COLOURS["ground"][theme], _COLOURS["box"][theme]
        for name in ("text", "soft"):
            assert min(contrast(_COLOURS[name][theme], ground), contrast(_COLOURS[name][theme], box)) >= 4.5, name
        assert contrast(_COLOURS["edge"][theme], ground) >= 3
        for accent, tint in ACCENTS:
            assert contrast(accent[theme], _COLOURS["badge"][theme]) >= 4.5
            assert contrast(_COLOURS["soft"][theme], tint[theme]) >= 4.5


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21; text wants 4.5 (WCAG 2.1, success criterion 1.4.3)."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_png_is_drawn_by_the_extra(acme: Any, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the extra [png] is not installed")
    result = acme("-P", "solo", "-o", str(tmp_path / "boot.png"))
    if isinstance(result.exception, KernelError) and "font" in result.exception.what:
        pytest.skip("no font on this machine")
    picture = (tmp_path / "boot.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") > 400
    piped = acme("-P", "solo", "--format", "png")
    assert piped.stdout_bytes == picture


def test_without_the_extra_it_names_it(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_graph.png import _draws_text

    _draws_text.cache_clear()
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    result = acme("-P", "solo", "--format", "png")
    assert isinstance(result.exception, KernelError)
    assert "bootsteps-graph[png]" in str(result.exception)


def test_a_png_for_a_terminal_is_refused(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootsteps_graph.cli._is_terminal", lambda: True)
    result = acme("-P", "solo", "--format", "png")
    assert isinstance(result.exception, KernelError)
    assert "-o boot.png" in str(result.exception)
