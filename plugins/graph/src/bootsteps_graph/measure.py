"""How wide text is, without a font at hand."""

from __future__ import annotations

__all__ = ["width_of", "wrapped"]

# Hundredths of the font size, from DejaVu Sans and DejaVu Sans Bold: the widest of the usual fonts, so that text
# which is drawn with another one leaves room instead of being cut.
_REGULAR = {
    27: "'", 28: "ijl", 29: "IJ", 32: " ,.", 34: "/:;\\|", 35: "f", 36: "-", 39: "()[]t", 40: "!", 41: "r", 46: '"',
    50: "*_`", 52: "sz", 53: "?", 55: "c", 56: "L", 58: "Fk", 59: "vxy", 60: "P", 61: "TYao", 62: "e", 63: "ESbdghnpqu",
    64: "$0123456789{}", 66: "K", 68: "AV", 69: "BRXZ", 70: "C", 73: "U", 75: "HN", 77: "DG", 78: "&", 79: "OQ",
    82: "w", 84: "#+<=>^~", 86: "M", 95: "%", 97: "m", 99: "W", 100: "@",
}  # fmt: skip
_BOLD = {
    31: "'", 34: "ijl", 35: " ", 37: "/IJ\\|", 38: ",.", 40: ":;", 42: "-", 44: "f", 46: "!()[]", 48: "t", 49: "r",
    50: "_`", 52: '"*', 58: "?z", 59: "c", 60: "s", 64: "L", 65: "vxy", 67: "ak", 68: "EFTe", 69: "o",
    70: "$0123456789", 71: "hnu{}", 72: "SYbdgpq", 73: "CPZ", 76: "B", 77: "AKRVX", 81: "U", 82: "G",
    83: "D", 84: "#+<=>HN^~", 85: "OQ", 87: "&", 92: "w", 100: "%@M", 104: "m", 110: "W",
}  # fmt: skip
_WIDTHS = [
    {letter: width / 100 for width, letters in table.items() for letter in letters} for table in (_REGULAR, _BOLD)
]
#: Other letters of Europe are about 0.65 (0.75 bold) wide; from here on (Hangul, CJK, emoji) a square.
_SQUARES = "\u1100"


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return an upper bound of the text's width in the unit of `size`."""
    widths, other = _WIDTHS[bold], 0.85 if bold else 0.78
    return size * sum(widths.get(letter, 1.05 if letter >= _SQUARES else other) for letter in text)


def wrapped(text: str, size: float, limit: float) -> list[str]:
    """Break text into lines no wider than `limit`, between words if possible."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(joined, size) <= limit:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a word too long for one line is cut
            if lines[-1] and width_of(lines[-1] + letter, size) > limit:
                lines.append("")
            lines[-1] += letter
    return lines
