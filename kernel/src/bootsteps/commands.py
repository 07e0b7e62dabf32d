"""Remote commands: decorators that describe them, and their dispatch by name.

A decorated function stays an ordinary function; nothing is registered. Commands are found as `worker.commands` entry
points or in the modules that the application imports.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from bootsteps.errors import CommandError, DuplicateName, did_you_mean
from bootsteps.services import ServiceKey

__all__ = ["Command", "Commands", "command_of", "commands_in", "control_command", "inspect_command"]

F = TypeVar("F", bound=Callable[..., Any])


class Command(NamedTuple):
    """A remote verb. `kind` is `control` (has an effect) or `inspect` (has none)."""

    name: str
    kind: str
    fun: Callable[..., Any]
    #: Positional arguments on a command line: (name, function from text).
    args: tuple[tuple[str, Callable[[Any], Any]], ...]
    #: For the usage line, e.g. `[N=1]`.
    signature: str
    help: str
    alias: str | None = None
    requires: tuple[ServiceKey[Any], ...] = ()
    variadic: str | None = None
    #: Listed in help. What only workers ask each other is not.
    visible: bool = True
    #: Seconds that a client waits for answers if nobody says; None = as for any command.
    default_timeout: float | None = None


def control_command(**options: Any) -> Callable[[F], F]:
    """Make a function `f(state, ...)` a control command.

    Options: `name`, `alias`, `args` ([("n", int), ...]), `signature` ("[N=1]"), `help`, `variadic` (the name of a list
    argument that takes all words), `requires` (service keys), `visible` (False keeps it out of help), `default_timeout`
    (seconds that a client waits). What is not given comes from the function itself.
    """
    return _decorate("control", options)


def inspect_command(**options: Any) -> Callable[[F], F]:
    """Make a function `f(state, ...)` an inspect command. Options as for `control_command`."""
    return _decorate("inspect", options)


_OPTIONS = frozenset(
    {"name", "alias", "args", "signature", "help", "variadic", "requires", "visible", "default_timeout"}
)


def _decorate(kind: str, options: dict[str, Any]) -> Callable[[F], F]:
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise TypeError(f"{kind}_command() takes no {', '.join(unknown)}")

    def decorator(fun: F) -> F:
        fun.bootsteps_command = _describe(kind, fun, **options)  # type: ignore[attr-defined]
        return fun

    return decorator


def _describe(
    kind: str,
    fun: Callable[..., Any],
    *,
    name: str | None = None,
    alias: str | None = None,
    args: Sequence[tuple[str, Callable[[Any], Any]]] | None = None,
    signature: str | None = None,
    help: str | None = None,
    variadic: str | None = None,
    requires: Sequence[ServiceKey[Any]] = (),
    visible: bool = True,
    default_timeout: float | None = None,
) -> Command:
    if args is None and variadic is not None:
        args = ()  # the list takes all words
    parameters = [p for p in list(inspect.signature(fun).parameters.values())[1:] if p.kind is not p.VAR_KEYWORD]
    return Command(
        name=name or fun.__name__,
        kind=kind,
        fun=fun,
        args=tuple(args) if args is not None else tuple((p.name, _converter(p)) for p in parameters),
        signature=signature if signature is not None else " ".join(map(_usage, parameters)),
        help=(help if help is not None else inspect.getdoc(fun) or "").strip(),
        alias=alias,
        requires=tuple(requires),
        variadic=variadic,
        visible=visible,
        default_timeout=default_timeout,
    )


def _converter(parameter: inspect.Parameter) -> Callable[[Any], Any]:
    named = {"int": int, "float": float, "str": str}
    annotation = named.get(parameter.annotation, parameter.annotation)
    return annotation if annotation in named.values() else lambda value: value


def _usage(parameter: inspect.Parameter) -> str:
    word = parameter.name.upper()
    return word if parameter.default is parameter.empty else f"[{word}={parameter.default}]"


def command_of(found: object) -> Command | None:
    """Return the command that a function was decorated as, or None."""
    return getattr(found, "bootsteps_command", None)


def commands_in(modules: Iterable[ModuleType]) -> list[tuple[str, Command]]:
    """Return (where, command) of every command defined in these modules."""
    found = []
    for module in modules:
        for name, value in sorted(vars(module).items()):
            command = command_of(value)
            if command is not None and getattr(value, "__module__", None) == module.__name__:
                found.append((f"{module.__name__}:{name}", command))
    return found


class Commands(Mapping[str, Command]):
    """The commands of one worker by name and alias."""

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._origins: dict[str, str] = {}

    def add(self, command: Command, origin: str) -> None:
        """Take a command. Raises `DuplicateName`."""
        for name in filter(None, (command.name, command.alias)):
            if name in self._commands:
                both = (self._origins[name], origin)
                raise DuplicateName(f"two remote commands are called {name!r}", both, "rename one of them")
            self._commands[name], self._origins[name] = command, origin

    def call(self, name: str, state: Any, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command with keyword arguments and return its reply. Raises `CommandError` for wrong ones."""
        command = self._commands.get(name)
        if command is None:
            raise CommandError(f"no remote command is called {name!r}", fix=did_you_mean(name, self._commands))
        try:
            bound = inspect.signature(command.fun).bind(state, **(arguments or {}))
        except TypeError as exc:
            usage = f"{command.name} {command.signature}"
            raise CommandError(f"{command.name}: {exc}", (self._origins[name],), usage) from exc
        return command.fun(*bound.args, **bound.kwargs)

    def origin(self, name: str) -> str:
        """Where the command comes from, for messages."""
        return self._origins[name]

    def __getitem__(self, name: str) -> Command:
        return self._commands[name]

    def __iter__(self) -> Any:
        return iter(sorted(self._commands))

    def __len__(self) -> int:
        return len(self._commands)
