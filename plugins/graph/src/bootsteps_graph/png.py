"""A picture as PNG, by resvg."""

from __future__ import annotations

from functools import cache

from bootsteps import KernelError
from bootsteps_graph.theme import FONTS

__all__ = ["png"]

#: Pixels of the picture for one of the drawing: sharp on a dense screen.
ZOOM = 2.0


def png(picture: str) -> bytes:
    """Return an SVG picture as PNG. Raises `KernelError` without resvg-py or without a font."""
    if not _draws_text():
        fix = "install one, e.g. apt-get install fonts-dejavu-core, or use --format svg"
        raise KernelError("a PNG picture needs a font, and none is installed", ("--format png",), fix)
    return _render(picture)


def _render(picture: str) -> bytes:
    try:
        from resvg_py import svg_to_bytes
    except ImportError as exc:
        whose = ("--format png (bootsteps-graph)",)
        fix = "pip install 'bootsteps-graph[png]', or use --format svg"
        raise KernelError("a PNG picture needs resvg-py, which is not installed", whose, fix) from exc
    return bytes(svg_to_bytes(svg_string=picture, zoom=ZOOM))


@cache
def _draws_text() -> bool:
    """Without a font resvg leaves text out and says nothing."""
    size = 'width="9" height="9"'
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><text y="8" font-family="{FONTS}">%s</text></svg>'
    return _render(picture % "M") != _render(picture % "")
