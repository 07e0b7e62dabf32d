"""The hub as those see it who register for one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["Registrar"]


class Registrar:
    """A hub that remembers what is added to it, and takes just that away again.

    Transports register under descriptors and ticks of their own choice, also long after they were asked to, and do not
    all take them away. What others added in the meantime, as a pool does for a new child, must stay.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._callbacks: dict[int, Callable[..., Any]] = {}
        self._ticks: set[Callable[[], Any]] = set()
        self._repeated: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    def add(
        self, fd: Any, callback: Callable[..., Any], flags: int, args: Sequence[Any] = (), consolidate: bool = False
    ) -> None:
        from kombu.utils.compat import fileno

        self._hub.add(fd, callback, flags, args, consolidate)
        self._callbacks[fileno(fd)] = callback

    def add_reader(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fds, callback, self._hub.READ | self._hub.ERR, args)

    def add_writer(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fds, callback, self._hub.WRITE, args)

    def call_repeatedly(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any:
        entry = self._hub.call_repeatedly(delay, callback, *args)
        self._repeated.append(entry)
        return entry

    @contextmanager
    def noting_ticks(self) -> Iterator[None]:
        """Remember which ticks are added meanwhile."""
        before = set(self._hub.on_tick)
        try:
            yield
        finally:
            self._ticks |= self._hub.on_tick - before

    def undo(self) -> None:
        """Take away what is still there. A descriptor's number may be somebody else's by now: the callback tells."""
        for fd, callback in self._callbacks.items():
            entries = (self._hub.readers.get(fd), self._hub.writers.get(fd))
            if any(entry is not None and entry[0] == callback for entry in entries):
                self._hub.remove(fd)
        self._hub.on_tick.difference_update(self._ticks)
        for entry in self._repeated:
            entry.cancel()
