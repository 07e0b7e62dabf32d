"""When Python's garbage collector works."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collector"]


@contextmanager
def without_collector() -> Iterator[None]:
    """Import and boot without the garbage collector, and never have it look at what was made meanwhile.

    Modules, classes and steps stay as long as the process: looking for garbage among them takes a tenth of a start, and
    in a forked child it writes to each page that is shared with the parent until then. It collects again afterwards if
    it did before.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
