"""The commands that are known here: of installed plugins, and of the application's modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bootsteps import Command, KernelError
from bootsteps.cli import Session
from bootsteps.commands import command_of, commands_in
from bootsteps.discovery import Broken
from bootsteps.errors import UnknownName, did_you_mean

__all__ = ["arguments_of", "find", "listed"]


def listed(session: Session, kind: str) -> list[Command]:
    """Return the commands of a kind (`inspect` or `control`) that are for people, by name."""
    found = {command.name: command for command in _all(session) if command.kind == kind and command.visible}
    return [found[name] for name in sorted(found)]


def find(session: Session, kind: str, name: str) -> Command:
    """Return the command of a name or alias, importing no other plugin if its entry point has that name.

    Raises `UnknownName`.
    """
    for plugin in session.catalogue.group("worker.commands"):
        if plugin.name == name:
            command = command_of(session.catalogue.load(plugin))
            if command is not None and command.kind == kind:
                return command
    everything = list(_all(session))
    for command in everything:
        if name in (command.name, command.alias) and command.kind == kind:
            return command
    raise _unknown(kind, name, everything)


def _unknown(kind: str, name: str, everything: Sequence[Command]) -> UnknownName:
    other = next((command.kind for command in everything if name in (command.name, command.alias)), "")
    near = did_you_mean(name, [command.name for command in everything if command.kind == kind])
    fix = f"kernel {other} {name}" if other else near or f"kernel {kind} --list shows them; -A adds an application's"
    return UnknownName(f"Command {name} not recognized: no {kind} command is called so", (f"kernel {kind}",), fix)


def _all(session: Session) -> Iterator[Command]:
    for plugin in session.catalogue.group("worker.commands"):
        loaded = session.catalogue.load(plugin)
        command = None if isinstance(loaded, Broken) else command_of(loaded)
        if command is not None:
            yield command
    for _, command in commands_in(session.app().load()):
        yield command


def arguments_of(command: Command, words: Sequence[str]) -> dict[str, Any]:
    """Return a command line's words as the command's keyword arguments. Raises `KernelError` for wrong ones."""
    found: dict[str, Any] = {}
    rest = list(words)
    for name, convert in command.args:
        if not rest:
            break
        found[name] = _converted(command, name, convert, rest.pop(0))
    if command.variadic:
        found[command.variadic] = rest
    elif rest:
        raise _misused(command, f"{len(words)} words are too many")
    return found


def _converted(command: Command, name: str, convert: Any, word: str) -> Any:
    try:
        return convert(word) if convert is not None else word
    except (ValueError, TypeError) as exc:
        raise _misused(command, f"{name} cannot be {word!r}: {exc}") from exc


def _misused(command: Command, what: str) -> KernelError:
    usage = f"kernel {command.kind} {command.name} {command.signature}".rstrip()
    return KernelError(f"{command.name}: {what}", (f"it takes: {command.signature or 'nothing'}",), usage)
