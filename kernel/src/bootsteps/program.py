"""The program `kernel`: what can be answered at once, is; everything else is left to the command line.

A probe runs every few seconds on a busy machine, so that what it asks must not import the world. An entry point of the
group `kernel.quick` is a function that takes the words behind the name of a command and returns the exit status, or
None to leave them to the command of that name in `kernel.commands`, which knows more (`--help`, wrong use). Such a
function and its package import a few modules of the standard library at most.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not typing's, whose import takes as long as all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

__all__ = ["main"]

GROUP = "[kernel.quick]"
#: Who switches plugins off, or asks where one is, has the long way.
LONG_WAY = ("KERNEL_WITHOUT", "_KERNEL_COMPLETE")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    words = list(sys.argv[1:] if argv is None else argv)
    status = None if any(name in os.environ for name in LONG_WAY) else _at_once(words)
    if status is not None:
        sys.exit(status)
    from bootsteps.collecting import without_collector

    with without_collector():
        from bootsteps.cli import main as command_line

    command_line(argv)


def _at_once(words: list[str]) -> int | None:
    """Return the exit status if this needs no command line."""
    if words == ["--version"]:
        from bootsteps import __version__

        print(f"kernel {__version__} (bootsteps)")
        return 0
    if not words or not words[0].isidentifier():
        return None
    found = list(_declared(words[0]))
    function = _function(found[0]) if len(found) == 1 else None  # two: an error that the long way tells
    return None if function is None else function(words[1:])


def _declared(command: str) -> Iterator[str]:
    """Return what the installed distributions declare for a command; never what lies in the current directory."""
    here = os.getcwd()
    for entry in dict.fromkeys(sys.path):
        if entry and os.path.isdir(entry) and os.path.abspath(entry) != here:
            with os.scandir(entry) as items:
                folders = [item.path for item in items if item.name.endswith(".dist-info")]
            for folder in folders:
                yield from _points(f"{folder}/entry_points.txt", command)


def _points(path: str, command: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return
    lines = text.partition(GROUP)[2].partition("\n[")[0].splitlines() if GROUP in text else []
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == command:
            yield value.strip()


def _function(value: str) -> Callable[[list[str]], int | None] | None:
    """Import what an entry point names; None if that fails, which the long way tells."""
    module, _, name = value.partition(":")
    try:
        __import__(module)
        found: Callable[[list[str]], int | None] = getattr(sys.modules[module], name)
    except Exception:
        return None
    return found
