"""Snapshots of the cluster, taken at intervals: derive from `Polaroid`, and store what you want to keep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_consumer_events.state import State

__all__ = ["Polaroid"]


class Polaroid:
    """A camera for `kernel events --camera`. `freq` and `cleanup_freq` are in seconds.

    The state does not change while `on_shutter` looks at it, and is emptied afterwards if `clear_after`.
    """

    clear_after = False

    def __init__(self, state: State, freq: float = 1.0, cleanup_freq: float = 3600.0, app: Any = None) -> None:
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.app = app
        self._next = time.monotonic() + freq
        self._next_cleanup = time.monotonic() + cleanup_freq

    def on_shutter(self, state: State) -> None:
        """Keep what you want of this state."""

    def on_cleanup(self) -> None:
        """Throw away what is too old."""

    def tick(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.freq
            self.state.freeze_while(self.on_shutter, self.state, clear_after=self.clear_after)
        if now >= self._next_cleanup:
            self._next_cleanup = now + self.cleanup_freq
            self.on_cleanup()
