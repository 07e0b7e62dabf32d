"""Rates: how often something may happen."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["per_second"]

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def per_second(rate: Any) -> float | None:
    """Return how often a second `"10/s"`, `"10/m"`, `"10/h"` or a number mean; None for no limit (also 0).

    Raises ValueError for anything else.
    """
    if rate is None:
        return None
    number, _, unit = str(rate).partition("/")
    try:
        found = math.nan if isinstance(rate, bool) else float(number) / SECONDS[unit.strip() or "s"]
    except (KeyError, ValueError):
        found = math.nan
    if not 0.0 <= found < math.inf:
        raise ValueError(f"a rate is a number, or text like 10/s, 10/m, 10/h, not {rate!r}")
    return found or None
