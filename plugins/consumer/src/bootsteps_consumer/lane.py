"""The hub as a side connection sees it: what goes wrong on that connection stays there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bootsteps_consumer.registrar import Registrar

__all__ = ["Lane"]


class Ticks:
    """Stands for `hub.on_tick`."""

    def __init__(self, real: set[Callable[[], Any]], guard: Callable[..., Any]) -> None:
        self._real = real
        self._guard = guard
        self._mine: dict[Callable[[], Any], Callable[[], Any]] = {}

    def add(self, callback: Callable[[], Any]) -> None:
        self.discard(callback)
        self._mine[callback] = self._guard(callback)
        self._real.add(self._mine[callback])

    def discard(self, callback: Callable[[], Any]) -> None:
        guarded = self._mine.pop(callback, None)
        if guarded is not None:
            self._real.discard(guarded)

    def remove(self, callback: Callable[[], Any]) -> None:
        if callback not in self._mine:
            raise KeyError(callback)
        self.discard(callback)

    def clear(self) -> None:
        for callback in list(self._mine):
            self.discard(callback)


class Lane(Registrar):
    """A hub whose callbacks do not raise: `on_failure(error)` is told instead, once; after `undo` nothing is called."""

    def __init__(self, hub: Any, on_failure: Callable[[Exception], None]) -> None:
        super().__init__(hub)
        self._on_failure = on_failure
        self._closed = False
        self.on_tick = Ticks(hub.on_tick, self._guarded)

    def _guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if self._closed:
                return None
            try:
                return callback(*args)
            except Exception as exc:
                if not self._closed:
                    self._on_failure(exc)
                return None

        return call

    def add(
        self, fd: Any, callback: Callable[..., Any], flags: int, args: Sequence[Any] = (), consolidate: bool = False
    ) -> None:
        super().add(fd, self._guarded(callback), flags, args, consolidate)

    def call_repeatedly(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any:
        return super().call_repeatedly(delay, self._guarded(callback), *args)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any:
        return self._hub.call_later(delay, self._guarded(callback), *args)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        return self._hub.call_soon(self._guarded(callback), *args)

    def undo(self) -> None:
        """Take everything away."""
        self._closed = True
        self.on_tick.clear()
        super().undo()
