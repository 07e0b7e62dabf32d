# mypy: disable-error-code="no-untyped-call"
# kombu has no types.
"""kombu's event loop, which also turns in time for what its own thread asks it to call soon, or later."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

from kombu.asynchronous.hub import Hub as KombuHub

__all__ = ["Hub"]


class _Punctual:
    """kombu's poller. The hub decides how long to sleep before its ticks, which may set timers: this looks again."""

    def __init__(self, poller: Any, timer: Any) -> None:
        self._poller = poller
        self._scheduled = timer._queue  # (when, priority, entry), a heap; the hub itself reads it

    def poll(self, timeout: float) -> Any:
        if self._scheduled:
            timeout = max(0.0, min(timeout, self._scheduled[0][0] - monotonic()))
        return self._poller.poll(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class Hub(KombuHub):
    """kombu's hub looks for calls before its ticks and timers, then sleeps: a call made by one of those would wait.

    A bell, which every `call_soon` rings, keeps it from sleeping then.
    """

    def __init__(self, timer: Any) -> None:
        super().__init__(timer=timer)
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._rung = False

    def open(self) -> None:
        """Take the descriptors that the hub needs itself."""
        self.poller = _Punctual(self.poller, self.timer)
        self._bell = socket.socketpair()
        self._rung = False
        for end in self._bell:
            end.setblocking(False)
        self.add_reader(self._bell[0], self._silence)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        call = super().call_soon(callback, *args)
        if self._bell is not None and not self._rung:
            self._rung = True
            with contextlib.suppress(BlockingIOError):  # full: it rings already
                self._bell[1].send(b"\0")
        return call

    def _silence(self) -> None:
        """Read before clearing the flag: what another thread rings in between is called in the coming turn anyway."""
        if self._bell is not None:
            self._bell[0].recv(4096)
        self._rung = False

    def close(self, *args: Any) -> None:
        super().close(*args)
        bell, self._bell = self._bell, None
        for end in bell or ():
            end.close()
