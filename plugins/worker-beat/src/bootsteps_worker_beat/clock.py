"""The clock on the wall, which may be put forward and back; in one place, so that tests can do it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["elapsed", "moment", "now"]


def now() -> float:
    """Return Unix seconds."""
    return time.time()


def elapsed() -> float:
    """Return monotonic seconds."""
    return time.monotonic()


def moment() -> datetime:
    """Return now as a datetime (UTC)."""
    return datetime.fromtimestamp(now(), UTC)
