"""A deadline for a call that may block."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bootsteps.errors import KernelError

__all__ = ["deadline"]


class _Late(BaseException):
    """Passes through what is interrupted."""


@contextmanager
def deadline(seconds: float | None, error: Callable[[], KernelError]) -> Iterator[None]:
    """Raise `error()` when the block takes longer than `seconds`; None = no limit.

    In the main thread a blocking call is interrupted (by the real-time interval timer; one that was set before goes on
    afterwards). What passes through the block then is no `Exception`: client libraries take those for a broken
    connection, and try again. In another thread the overrun is noticed when the block ends.
    """
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread():
        with _alarm(seconds, error):
            yield
    else:
        started = time.monotonic()
        yield
        if time.monotonic() - started > seconds:
            raise error()


@contextmanager
def _alarm(seconds: float, error: Callable[[], KernelError]) -> Iterator[None]:
    armed, late = True, _Late()

    def ring(signum: int, frame: FrameType | None) -> None:
        if armed:
            raise late

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    earlier, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    if earlier and earlier < seconds:  # an outer deadline comes first: let it
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, earlier, interval)
    try:
        yield
    except _Late as exc:
        if exc is not late:  # of a deadline around this one
            raise
        raise error() from None
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if earlier:
            left = max(earlier - (time.monotonic() - started), 1e-6)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
