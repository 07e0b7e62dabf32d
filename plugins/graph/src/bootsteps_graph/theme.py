"""The colours of the picture, for light and dark surroundings."""

from __future__ import annotations

__all__ = ["FONTS", "style_sheet"]

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
    "a0": ("#2a62c9", "#6ea5ff"), "f0": ("#ffffff", "#0d1117"),
    "a1": ("#0b7a5c", "#45c29c"), "f1": ("#f0f8f5", "#0f1d1b"),
    "a2": ("#9a4a14", "#e79a5d"), "f2": ("#fcf5ee", "#1f1812"),
}  # fmt: skip

#: Classes begin with `bg-`, so that a picture inside a page does not touch the page's own.
_RULES = """
text{{font-family:{fonts};fill:{text}}}
.bg-ground{{fill:{ground}}} .bg-title{{font-size:18px;font-weight:bold}} .bg-name{{font-size:14px;font-weight:bold}}
.bg-small,.bg-chip,.bg-reason{{font-size:11px}} .bg-small{{fill:{soft}}} .bg-number{{font-size:11px;font-weight:bold;fill:{badge}}}
.bg-part{{font-size:12px;font-weight:bold;fill:{soft}}}
.bg-box{{fill:{box};stroke:{line}}} .bg-host{{stroke-width:1.5}}
.bg-out{{fill:none;stroke:{faint};stroke-dasharray:4 3}} .bg-gone{{font-size:12px;font-weight:bold;fill:{faint}}}
.bg-edge{{fill:none;stroke:{edge};stroke-width:1.5}} .bg-wants{{stroke-dasharray:7 4}}
.bg-order{{stroke:{faint};stroke-dasharray:2 4;stroke-linecap:round}} .bg-head{{fill:{edge}}} .bg-head-order{{fill:{faint}}}
.bg-a0{{fill:{a0}}} .bg-a1{{fill:{a1}}} .bg-a2{{fill:{a2}}} .bg-f0{{fill:{f0};stroke:{a0}}} .bg-f1{{fill:{f1};stroke:{a1}}}
.bg-f2{{fill:{f2};stroke:{a2}}} .bg-s0{{fill:{ground};stroke:{a0}}} .bg-s1{{fill:{ground};stroke:{a1}}} .bg-s2{{fill:{ground};stroke:{a2}}}
.bg-t0{{fill:{a0}}} .bg-t1{{fill:{a1}}} .bg-t2{{fill:{a2}}}
"""


def style_sheet(dark: bool) -> str:
    """Return the rules for light surroundings and, if `dark`, those for readers who prefer dark ones."""
    light, night = (_RULES.format(fonts=FONTS, **{name: pair[i] for name, pair in _COLOURS.items()}).strip() for i in (0, 1))
    return f"{light}\n@media (prefers-color-scheme:dark){{\n{night}\n}}" if dark else light
