"""A coroutine into which an exception can be thrown where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

__all__ = ["Steered"]

T = TypeVar("T")


class Steered(Generic[T]):
    """Await it once, in a task of its own.

    `asyncio` knows one way to reach a task that waits: to cancel it. So the task is cancelled, and the coroutine gets
    another exception instead of `CancelledError`, at the very `await` where it stands.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None
        self._cancelled = False

    def throw(self, error: BaseException) -> None:
        """Raise this where the coroutine waits; nothing if it does not run."""
        if self._task is not None:
            self._error = error
            self._task.cancel()

    def cancel(self) -> None:
        """Cancel the coroutine, also one that did not start yet."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, T]:
        self._task = task = asyncio.current_task()
        assert task is not None, "it is awaited in a task"
        error: BaseException | None = asyncio.CancelledError() if self._cancelled else None
        try:
            while True:
                try:
                    awaited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                error = None
                try:
                    yield awaited
                except asyncio.CancelledError as exc:
                    error, self._error = self._error or exc, None
                    if error is not exc:
                        task.uncancel()
                except BaseException as exc:
                    error = exc
        finally:
            self._task = None
