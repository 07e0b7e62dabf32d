"""The words after `kernel multi ACTION`: node names, and options for all nodes or for some."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bootsteps import KernelError

__all__ = ["OWN_OPTIONS", "Words", "read", "signal_named"]

#: Options of multi itself, with a value each; the worker gets only those that it has, too.
OWN_OPTIONS = frozenset(
    f"--{name}" for name in ("range-prefix", "prefix", "suffix", "cmd", "append", "executable", "pidfile", "logfile")
) | {"--hostname"}
#: Switches of multi itself.
OWN_SWITCHES = {
    "--nosplash": "nosplash", "--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "--no-color": "no_color",
    "-C": "no_color",
}  # fmt: skip
#: Switches of the worker with one letter: the word after them is no value.
SHORT_SWITCHES = frozenset(["-B", "-D", "-E"])
#: Short names of what multi reads itself, and one that old guides use.
LONG = {"-n": "--hostname", "-f": "--logfile", "-L": "-l"}
NODE = re.compile(r"[^\s:/=]+")
PART = re.compile(r"(\d+)-(\d+)")


@dataclass
class Words:
    """What was typed."""

    names: list[str] = field(default_factory=list)
    #: Flag and value (None for a switch); of two of one flag the latter counts.
    options: dict[str, str | None] = field(default_factory=dict)
    #: The same for some nodes, by what follows the colon.
    scoped: dict[str, dict[str, str | None]] = field(default_factory=dict)
    #: What follows `--`, for every worker as it is.
    rest: list[str] = field(default_factory=list)
    switches: set[str] = field(default_factory=set)
    signum: int | None = None

    def scopes_of(self, place: int, keys: Sequence[str]) -> Iterator[dict[str, str | None]]:
        """Yield the options of some nodes that concern the node at this place (from 1), known by these names."""
        for scope, options in self.scoped.items():
            if any(_covers(part, place, keys) for part in scope.split(",")):
                yield options


def _covers(part: str, place: int, keys: Sequence[str]) -> bool:
    bounds = PART.fullmatch(part)
    if bounds is not None:
        return int(bounds[1]) <= place <= int(bounds[2])
    return part == "*" or part in keys or (part.isdigit() and int(part) == place)


def read(words: Sequence[str], *, signals: bool) -> Words:
    """Sort what was typed; `signals`: `-9` and `-KILL` name a signal. Raises `KernelError`."""
    found, todo = Words(), list(words)
    while todo:
        word = todo.pop(0)
        if word == "--":
            found.rest = todo
            break
        if word in OWN_SWITCHES:
            found.switches.add(OWN_SWITCHES[word])
        elif not word.startswith("-"):
            found.names.append(_checked(word))
        elif signals and (number := signal_named(word[1:])) is not None:
            found.signum = number
        else:
            _take_option(found, word, todo)
    return found


def _take_option(found: Words, word: str, todo: list[str]) -> None:
    flag, equals, value = word.partition("=")
    flag, _, scope = flag.partition(":")
    given: str | None = value if equals else None
    if not flag.startswith("--") and not equals:
        if len(flag) > 2:  # -c4
            flag, given = flag[:2], flag[2:]
        elif flag not in SHORT_SWITCHES and todo and not todo[0].startswith("-"):
            given = todo.pop(0)
    elif flag in OWN_OPTIONS and not equals and todo:
        given = todo.pop(0)
    flag = LONG.get(flag, flag)
    (found.scoped.setdefault(scope, {}) if scope else found.options)[flag] = given


def _checked(name: str) -> str:
    if not NODE.fullmatch(name):
        what = f"{name!r} is no name of a node"
        raise KernelError(what, ("kernel multi",), "write a long option and its value as one word: --option=value")
    return name


def signal_named(text: str) -> int | None:
    """Return the number of `9`, `KILL` or `SIGKILL`; None for what is no signal."""
    if text.isdigit():
        return int(text) if int(text) in {int(number) for number in signal.valid_signals()} else None
    found = getattr(signal, f"SIG{text.removeprefix('SIG')}", None) if text.isupper() else None
    return int(found) if isinstance(found, signal.Signals) else None
