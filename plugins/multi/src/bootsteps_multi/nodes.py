"""The nodes that were named, and the command line of each."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsteps import KernelError
from bootsteps.errors import did_you_mean
from bootsteps_daemon import owner
from bootsteps_multi.words import OWN_OPTIONS, Words
from bootsteps_worker import expand_path, node_name

__all__ = ["Node", "expand", "make_nodes"]

CMD = "-m bootsteps worker --detach"


@dataclass(frozen=True)
class Node:
    """One worker."""

    #: Its full name.
    name: str
    #: After the interpreter.
    command: tuple[str, ...]
    executable: str
    pidfile: Path
    #: Of the command, what was typed for the worker itself.
    own: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        """The process, if it is running. Raises `KernelError` for a file that is none of a process id."""
        return owner(self.pidfile)


def make_nodes(words: Words, before: Sequence[str] = ()) -> list[Node]:
    """Return the nodes in the order in which they were typed; `before` are options for each. Raises `KernelError`."""
    names = words.names
    if not names:
        raise KernelError("no node is named", ("kernel multi",), "a number, or names: kernel multi start 3 -A proj")
    counted = len(names) == 1 and names[0].isdigit()
    short = [str(number) for number in range(1, int(names[0]) + 1)] if counted else names
    prefix = words.options.get("--range-prefix") or "celery" if counted or names[0].isdigit() else ""
    prefix = (words.options.get("--prefix") or prefix).replace('""', "")
    suffix = words.options.get("--suffix") or words.options.get("--hostname") or socket.gethostname()
    keys = [(name, name if "@" in name else f"{prefix}{name}") for name in short]
    _check_scopes(words, keys)
    return [_make(words, before, place, pair, suffix) for place, pair in enumerate(keys, 1)]


def _check_scopes(words: Words, keys: Sequence[tuple[str, str]]) -> None:
    """Refuse options for nodes that are not there."""
    for scope in words.scoped:
        for part in scope.split(","):
            numbers = re.findall(r"\d+", part) if re.fullmatch(r"\d+(-\d+)?", part) else []
            known = part == "*" or any(part in (*pair, pair[1].partition("@")[0]) for pair in keys)
            if not known and (not numbers or not 1 <= int(numbers[0]) <= int(numbers[-1]) <= len(keys)):
                near = did_you_mean(part, [key for pair in keys for key in pair])
                what = f"there is no node {part!r} for the options of {scope!r}"
                raise KernelError(what, ("kernel multi",), near or f"name one of {', '.join(key for key, _ in keys)}")


def _make(words: Words, before: Sequence[str], place: int, pair: tuple[str, str], suffix: str) -> Node:
    typed, short = pair
    name = node_name(short if "@" in short else f"{short}@{suffix}", socket.gethostname())
    options = dict(words.options)
    for scoped in words.scopes_of(place, (typed, short, short.partition("@")[0])):
        options |= scoped
    folder = _folder()
    pidfile = expand(options.pop("--pidfile", None) or f"{folder}/%n.pid", name)
    logfile = expand(options.pop("--logfile", None) or f"{folder}/%n%I.log", name)
    executable = options.pop("--executable", None) or sys.executable
    cmd, append = options.pop("--cmd", None) or CMD, options.pop("--append", None) or ""
    own = [word for flag, value in options.items() if flag not in OWN_OPTIONS for word in _spelled(flag, value)]
    own += [*words.rest, *shlex.split(append)]
    fixed = ("-n", name, f"--pidfile={pidfile}", f"--logfile={logfile}")
    command = (*shlex.split(cmd), *before, *own, *fixed)
    return Node(name, command, executable, Path(expand_path(pidfile, name)).absolute(), tuple(own))


def _spelled(flag: str, value: str | None) -> tuple[str, ...]:
    if value is None:
        return (flag,)
    return (f"{flag}={value}",) if flag.startswith("--") else (flag, value)


def _folder() -> Path:
    """Return where the files of nodes are when nobody says."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "bootsteps" / "multi"


def expand(template: str, node: str) -> str:
    """Put a node's name into a template, and leave to the worker what it alone knows: `%i`, `%I`."""
    name, _, host = node.partition("@")
    values = {"p": node, "n": name, "N": name, "h": host, "d": host.partition(".")[2]}
    return re.sub(r"%(.)", lambda match: values.get(match[1], match[0]), template)
