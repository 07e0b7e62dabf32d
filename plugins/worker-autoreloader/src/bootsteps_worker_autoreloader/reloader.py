"""Looks at the files of the application, and has it imported anew when one has changed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable

from bootsteps import KernelError

__all__ = ["Autoreloader", "sources"]

#: What tells one state of a file from another; a file that replaces another has an inode of its own.
Print = tuple[int, int, int]


class Autoreloader:
    """Compares files with what they were, and acts when they have changed and then stood still for one look."""

    def __init__(self, files: Callable[[], Iterable[str]], renew: Callable[[], object], log: logging.Logger) -> None:
        """`files` returns the paths to be watched now; `renew` raises `KernelError` when it cannot."""
        self._files, self._renew, self._log = files, renew, log
        self._known = self._prints()
        #: Those that have changed since the last time that it acted.
        self._changed: set[str] = set()

    @property
    def files(self) -> list[str]:
        """The paths that are watched."""
        return sorted(self._known)

    def look(self) -> None:
        """See what has changed, and act on what changed before."""
        now = self._prints()
        changed = {path for path in self._known if self._known[path] != now.get(path)}
        self._known = now
        self._changed |= changed
        if self._changed and not changed:
            self.on_change(sorted(self._changed))

    def on_change(self, files: Iterable[str]) -> None:
        """Have the application imported anew, or say why it goes on as it was."""
        self._changed = set()
        names = ", ".join(files)
        try:
            self._renew()
        except KernelError as exc:
            self._log.error("changed: %s; the old code goes on: %s", names, exc.what)
            return
        self._known |= {path: found for path, found in self._prints().items() if path not in self._known}
        self._log.info("changed: %s; every child is replaced after its task", names)

    def _prints(self) -> dict[str, Print | None]:
        return {path: _print(path) for path in self._files()}


def sources(names: Iterable[str]) -> list[str]:
    """Return the files of these modules, as far as they are written in Python."""
    found = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return [path for path in found if path and path.endswith(".py")]


def _print(path: str) -> Print | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
