"""A call in a thread that can be interrupted like a coroutine, as far as threads can be."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["call_in_thread"]


async def call_in_thread(call: Callable[[], Any]) -> Any:
    """Call in a thread of the loop's executor, with the present context.

    What is raised here in the meantime (a cancellation, a soft limit) is raised in the thread too, at its next step in
    Python: a call into C that does not return cannot be interrupted, and this waits for its end all the same, since a
    thread that goes on is no task that has ended.
    """
    work = _Call(call)
    future = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, work)
    outside: BaseException | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except BaseException as exc:
            outside = exc
            work.interrupt(type(exc))
    failed = future.exception()
    if failed is None:
        return future.result()
    if outside is not None and type(failed) is type(outside):
        failed.args = outside.args  # in the thread it could only be raised without
    raise failed


class _Call:
    """One call, and which thread is in it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._thread: int | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        self._thread = threading.get_ident()
        try:
            return self._call()
        finally:
            with self._lock:  # no exception is on its way after this
                _raise_in(self._thread, None)
                self._thread = None

    def interrupt(self, kind: type[BaseException]) -> None:
        """Raise an exception of this kind in the call; nothing when it is over, or has not begun."""
        with self._lock:
            if self._thread is not None:
                _raise_in(self._thread, kind)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """See PyThreadState_SetAsyncExc; None takes back what is not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind) if kind else None)
