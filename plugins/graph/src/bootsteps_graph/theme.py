"""The colours of the picture, for light and dark surroundings."""

from __future__ import annotations

__all__ = ["ACCENTS", "FONTS", "style_sheet"]

#: In this order, and by name: a renderer without a desktop does not know what the machine's `sans-serif` is.
FONTS = (
    "'DejaVu Sans',Verdana,'Segoe UI',system-ui,'Noto Sans','Liberation Sans',Roboto,Ubuntu,Cantarell,'Open Sans',"
    "FreeSans,Helvetica,Arial,sans-serif"
)

#: (light, dark)
_COLOURS = {
    "ground": ("#ffffff", "#0d1117"),
    "box": ("#f6f8fb", "#161c26"),
    "line": ("#c5cfdb", "#354252"),
    "text": ("#1a2430", "#e6edf3"),
    "soft": ("#56657a", "#9aa8b8"),
    "edge": ("#5d6f86", "#8496ab"),
    "faint": ("#9aa8b9", "#5b6a7c"),
    "badge": ("#ffffff", "#0d1117"),
}

#: For each depth of nesting, from the outermost: the accent and the ground of its frame, each (light, dark).
ACCENTS = (
    (("#2a62c9", "#6ea5ff"), ("#ffffff", "#0d1117")),
    (("#0b7a5c", "#45c29c"), ("#f0f8f5", "#0f1d1b")),
    (("#9a4a14", "#e79a5d"), ("#fcf5ee", "#1f1812")),
)

#: Classes begin with `bg-`, so that a picture inside a page does not touch the page's own.
_RULES = """
text{{font-family:{fonts};fill:{text}}}
.bg-ground{{fill:{ground}}}
.bg-title{{font-size:18px;font-weight:bold}}
.bg-name{{font-size:14px;font-weight:bold}}
.bg-part{{font-size:12px;font-weight:bold;fill:{soft}}}
.bg-gone{{font-size:12px;font-weight:bold;fill:{soft}}}
.bg-small{{font-size:11px;fill:{soft}}}
.bg-chip,.bg-reason{{font-size:11px}}
.bg-number{{font-size:11px;font-weight:bold;fill:{badge}}}
.bg-box{{fill:{box};stroke:{line}}}
.bg-host{{stroke-width:1.5}}
.bg-out{{fill:none;stroke:{faint};stroke-dasharray:4 3}}
.bg-edge{{fill:none;stroke:{edge};stroke-width:1.5}}
.bg-wants{{stroke-dasharray:7 4}}
.bg-order{{stroke:{faint};stroke-dasharray:2 4;stroke-linecap:round}}
.bg-head{{fill:{edge}}}
.bg-head-order{{fill:{faint}}}
"""


#: One accent for each depth: the number of a step, its chips (`s`), the frame of a nested blueprint (`f`).
_ACCENT = """
.bg-a{n}{{fill:{accent}}}
.bg-s{n}{{fill:{ground};stroke:{accent}}}
.bg-f{n}{{fill:{tint};stroke:{accent}}}
"""


def style_sheet(dark: bool) -> str:
    """Return the rules for light surroundings and, if `dark`, those for readers who prefer dark ones."""
    light, night = (_rules(theme) for theme in (0, 1))
    return f"{light}\n@media (prefers-color-scheme:dark){{\n{night}\n}}" if dark else light


def _rules(theme: int) -> str:
    colours = {name: pair[theme] for name, pair in _COLOURS.items()}
    accents = (_ACCENT.format(n=n, accent=a[theme], tint=t[theme], **colours) for n, (a, t) in enumerate(ACCENTS))
    return "\n".join(text.strip() for text in (_RULES.format(fonts=FONTS, **colours), *accents))
