"""Settings: declared by those who read them, looked up in layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, overload

from bootsteps.errors import SettingError, did_you_mean

__all__ = ["Setting", "Settings"]

T = TypeVar("T")

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})

PREFIX = "KERNEL_"
#: What else the program reads from the environment under that prefix.
NO_SETTINGS = frozenset({"app", "config", "worker_hostname", "worker_quiet"})
#: How near a variable's name is to a setting's that is a slip of the pen, and not somebody else's (of 1).
NEARLY = 0.85


class Setting(Generic[T]):
    """One setting: Celery's lower-case name, its type, default, unit, help and command-line flags.

    `type` is a type or a function from text to value (it raises ValueError with a sentence for a user). `flags` are
    derived from the name (`stuck_after` gives `--stuck-after`); an empty tuple keeps it off the command line.
    A list is written with commas on the command line and in the environment.
    """

    def __init__(
        self,
        name: str,
        type: Callable[[Any], T],
        default: T,
        *,
        unit: str = "",
        help: str = "",
        flags: tuple[str, ...] | None = None,
        secret: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.unit = unit
        self.help = help
        self.flags = (f"--{name.replace('_', '-')}",) if flags is None else flags
        #: Masked wherever it could be printed.
        self.secret = secret

    def __repr__(self) -> str:
        return f"Setting({self.name!r})"

    def parse(self, value: Any) -> T:
        """Return the value as the declared type. Raises `SettingError`."""
        try:
            return self._convert(value)
        except (TypeError, ValueError) as exc:
            raise SettingError(self._fault(value, exc), fix=self._advice()) from exc

    def _fault(self, value: Any, exc: Exception) -> str:
        if not isinstance(self.type, type):
            return f"setting {self.name!r} cannot be {value!r}" + (f": {exc}" if str(exc) else "")
        kind, unit = self.type.__name__, f" in {self.unit}" if self.unit else ""
        return f"setting {self.name!r} takes {'an' if kind[0] in 'aeiou' else 'a'} {kind}{unit}, not {value!r}"

    def _advice(self) -> str:
        usual = "leave it out" if self.default is None else f"{self.name} = {self.default!r}, the default"
        return f"{usual}: {self.help}" if self.help else usual

    def _convert(self, value: Any) -> T:
        if value is None or value == self.default:
            return self.default if value == self.default else value
        if self.type is bool:
            value = _boolean(value)
        if self.type in (list, tuple) and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return self.type(_strict(self.type, value))


def _strict(kind: Any, value: Any) -> Any:
    """Refuse what Python would convert without a word: True to 1, 1.5 to 1, 5 to "5", a list to a dict."""
    whole = not isinstance(value, float) or value.is_integer()
    if (kind in (int, float) and isinstance(value, bool)) or (kind is int and not whole):
        raise ValueError
    if kind in (str, dict) and not isinstance(value, kind):
        raise ValueError
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in TRUE | FALSE:
        return value.lower() in TRUE
    if value in (0, 1):
        return bool(value)
    raise ValueError


class Settings(MutableMapping[str, Any]):
    """The settings of an application: command line over environment over files over application over default.

    Reads as a mapping and by attribute (`app.conf.task_acks_late = False`). `source()` tells where a value came from.
    The environment is read at each look-up: `KERNEL_BROKER_URL` for `broker_url`.
    """

    _declared: dict[str, Setting[Any]]

    def __init__(self, values: Mapping[str, Any] = {}, declared: Iterable[Setting[Any]] = ()) -> None:
        set_ = object.__setattr__
        set_(self, "_values", {k: v for k, v in values.items() if v is not None})
        set_(self, "_files", {})
        set_(self, "_overrides", {})
        set_(self, "_origins", {})
        set_(self, "_declared", {})
        set_(self, "_version", object())
        self.declare(declared)

    def declare(self, settings: Iterable[Setting[Any]]) -> None:
        """Make these settings readable by name."""
        self._declared.update((setting.name, setting) for setting in settings)
        self._note_change()

    def stamp(self) -> tuple[object, Mapping[Any, Any]]:
        """Return what equals an earlier stamp as long as nothing was set since, the environment included.

        For those who keep what they made from settings: take it first, then read. A value that was changed in place,
        like an entry of a mapping, shows only when it is set again. Any thread.
        """
        return self._version, getattr(os.environ, "_data", os.environ).copy()

    def _note_change(self) -> None:
        # After the change, and not by counting: of two threads that count at once, one would be lost.
        object.__setattr__(self, "_version", object())

    def override(self, values: Mapping[str, Any], source: str = "command line") -> None:
        """Put values above all others, as the command line does; `source` is said instead where it was another."""
        self._overrides.update(values)
        self._origins.update(dict.fromkeys(values, source))
        self._note_change()

    @property
    def overrides(self) -> dict[str, Any]:
        """A copy of what `override` put above all others."""
        return dict(self._overrides)

    def add_file(self, values: Mapping[str, tuple[Any, str]]) -> None:
        """Put values above the application's and below the environment's; each comes with its origin (`FILE:LINE`)."""
        self._files.update(values)
        self._note_change()

    @property
    def files(self) -> dict[str, tuple[Any, str]]:
        """A copy of what `add_file` put there."""
        return dict(self._files)

    @overload
    def get(self, key: Setting[T], default: None = ...) -> T: ...
    @overload
    def get(self, key: str, default: Any = ...) -> Any: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a `Setting` in its declared type, or of a name. Raises `SettingError`."""
        if isinstance(key, Setting):
            found, value = self._find(key.name)
            return self._parse(key, value) if found else key.default
        try:
            return self[key]
        except KeyError:
            return default

    def given(self, name: str) -> Any:
        """Return a value as it was written, before it was made one of the setting's type; its default if it was not."""
        found, value = self._find(name)
        return value if found else self._declared[name].default

    def source(self, name: str) -> str:
        """Where the value comes from: `command line`, `KERNEL_X`, `FILE:LINE`, `application` or `default`."""
        if name in self._overrides:
            return str(self._origins[name])
        if _in_environment(name):
            return variable_of(name)
        if name in self._files:
            return str(self._files[name][1])
        return "application" if name in self._values else "default"

    def faults(
        self,
        whose: Callable[[str], Sequence[str]] = lambda name: (),
        advice: Callable[[str], str] = lambda name: "",
        elsewhere: Callable[[], Iterable[Setting[Any]]] = lambda: (),
    ) -> list[SettingError]:
        """Return every unknown name and every value of a wrong type; `whose(name)` tells who reads a setting.

        `advice(name)` tells what to do instead of a setting that there is not, nothing where it knows none. Of the
        environment only such a name, or one that is nearly a setting's, is a fault: others set KERNEL_... too.
        `elsewhere()` is asked, where a name is unknown, for settings that nobody reads now and that may be set.
        """
        unknown = dict.fromkeys(self._values, "the application") | {n: at for n, (_, at) in self._files.items()}
        unknown |= {name: str(self._origins[name]) for name in self._overrides}
        faults = [
            (name, self._unknown(name, where, whose(name) if name in self._values else (), advice(name)))
            for name, where in sorted(unknown.items())
            if name not in self._declared
        ]
        faults += self._unknown_in_environment(advice)
        unread = {setting.name for setting in elsewhere()} if faults else ()
        return [fault for name, fault in faults if name not in unread] + self._wrong_values(whose)

    def _wrong_values(self, whose: Callable[[str], Sequence[str]]) -> list[SettingError]:
        faults = []
        for name in sorted(self._declared):
            try:
                self.get(self._declared[name])
            except SettingError as exc:
                faults.append(SettingError(exc.what, whose(name), exc.fix))
        return faults

    def _unknown(self, name: str, where: str, whose: Sequence[str], advice: str) -> SettingError:
        near = did_you_mean(name, self._declared)
        fix = advice or near or "remove it, or install the plugin that reads it (kernel plugins list)"
        return SettingError(f"unknown setting {name!r} in {where}", whose, fix)

    def _unknown_in_environment(self, advice: Callable[[str], str]) -> list[tuple[str, SettingError]]:
        from difflib import get_close_matches

        faults = []
        for variable in sorted(name for name in os.environ if name.startswith(PREFIX)):
            name = variable.removeprefix(PREFIX).lower()
            if name in self._declared or name in NO_SETTINGS or variable in self._origins.values():
                continue
            near = get_close_matches(name, self._declared, n=1, cutoff=NEARLY)
            fix = advice(name) or (f"did you mean {variable_of(near[0])}?" if near else "")
            if fix:
                what = f"unknown setting {name!r} in the environment"
                faults.append((name, SettingError(what, (variable,), fix)))
        return faults

    def _parse(self, setting: Setting[T], value: Any) -> T:
        try:
            return setting.parse(value)
        except SettingError as exc:
            what = f"{exc.what} ({self.source(setting.name)})"
            raise SettingError(what, (f"setting {setting.name!r}",), exc.fix) from exc

    def _find(self, name: str) -> tuple[bool, Any]:
        if name in self._overrides:
            return True, self._overrides[name]
        if _in_environment(name):
            return True, os.environ[variable_of(name)]
        if name in self._files:
            return True, self._files[name][0]
        return name in self._values, self._values.get(name)

    def __getitem__(self, name: str) -> Any:
        setting = self._declared.get(name)
        found, value = self._find(name)
        if setting is not None:
            return self._parse(setting, value) if found else setting.default
        if not found:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._note_change()

    def __delitem__(self, name: str) -> None:
        del self._values[name]
        self._note_change()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._declared, *self._values, *self._files, *self._overrides}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no setting {name!r}; {did_you_mean(name, self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def _in_environment(name: str) -> bool:
    # Not `in os.environ`, which raises and catches a KeyError for each setting that is not there.
    return _encoded(name) in getattr(os.environ, "_data", ())


@cache
def _encoded(name: str) -> bytes | str:
    """Return the variable's name as the mapping beneath `os.environ` has it."""
    encoded: bytes | str = os.environ.encodekey(variable_of(name))
    return encoded


@cache
def variable_of(name: str) -> str:
    """Return the environment variable of a setting: `KERNEL_BROKER_URL` for `broker_url`."""
    return f"{PREFIX}{name.upper()}"
