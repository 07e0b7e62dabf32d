"""The words of a command line, before click reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import click

from bootsteps.errors import UnknownName, did_you_mean

__all__ = ["command_first", "unknown_command"]


def command_first(
    words: Sequence[str], own: Iterable[click.Parameter], commands: Callable[[], Iterable[str]], program: str
) -> list[str]:
    """Return the words with those options behind the command's name that are not among the group's `own`.

    Which of them take a value is known to the command alone: a word that names no command is such a value. Raises
    `UnknownName` if none of the words behind such an option names a command.
    """
    arity = {flag: _takes_value(param) for param in own for flag in param.opts}
    mine: list[str] = []
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag = word.partition("=")[0] if word.startswith("--") else word[:2]
        if flag in arity:
            mine.append(word)
            if arity[flag] and word == flag and rest:
                mine.append(rest.pop(0))
        elif word.startswith("-"):
            others.append(word)
        elif not others or word in set(commands()):
            return [*mine, word, *others, *rest]
        else:
            others.append(word)
    if meant := [word for word in others if not word.startswith("-")]:
        raise unknown_command(meant[-1], commands(), program)
    return list(words)


def _takes_value(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.is_flag


def unknown_command(name: str, commands: Iterable[str], program: str) -> UnknownName:
    """Return the error for the name of no command of that program."""
    fix = did_you_mean(name, commands) or f"{program} --help lists those that are installed; others come with a plugin"
    return UnknownName(f"there is no command {name!r}", (f"{program} {name}",), fix)
