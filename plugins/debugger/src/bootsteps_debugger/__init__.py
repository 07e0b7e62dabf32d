"""Look into a running worker."""

from __future__ import annotations

import sys
from types import FrameType

__all__ = ["set_trace"]


def set_trace(frame: FrameType | None = None) -> None:
    """Open a debugger here, or at a frame; the log tells how to connect to it."""
    from bootsteps_debugger.session import debug  # imports pdb, which is dear

    debug(frame or sys._getframe(1))
