"""The application: a name, settings, steps of its own and options of its own."""

from __future__ import annotations

import importlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from bootsteps.errors import KernelError, LoadError, SettingError, UnknownName, did_you_mean
from bootsteps.hooks import Hooks
from bootsteps.settings import Setting, Settings

__all__ = ["ON_PLUGIN_ERROR", "WITHOUT", "App", "StepSet", "find_app"]

WITHOUT = Setting[tuple[str, ...]]("without", tuple, (), flags=(), help="names of plugins to switch off")


def _abort_or_quarantine(value: str) -> str:
    if value not in ("abort", "quarantine"):
        raise ValueError("it is 'abort' or 'quarantine'")
    return value


ON_PLUGIN_ERROR = Setting[str](
    "on_plugin_error", _abort_or_quarantine, "abort", flags=(), help="what to do with a plugin that cannot be imported"
)


class StepSet(set[type]):
    """The step classes that an application adds to one blueprint."""

    def __repr__(self) -> str:
        return "{" + ", ".join(sorted(map(_describe, self))) + "}"


def _describe(cls: type) -> str:
    needs = (getattr(need, "name", None) or getattr(need, "__name__", need) for need in getattr(cls, "requires", ()))
    return f"step:{cls.__module__}.{cls.__qualname__}{{({', '.join(map(str, needs))})}}"


class App:
    """What a worker works for.

    `steps["worker"].add(MyStep)` and `steps["consumer"].update([A, B])` add steps beside the installed ones;
    `user_options["worker"].add(option)` adds a command-line option whose value reaches every step's `__init__`.
    """

    #: The settings that an application of this kind reads itself.
    settings: ClassVar[Sequence[Setting[Any]]] = ()

    def __init__(self, main: str | None = None, **settings: Any) -> None:
        self.main = main
        self.conf = Settings(settings, (WITHOUT, ON_PLUGIN_ERROR, *self.settings))
        self.steps: defaultdict[str, StepSet] = defaultdict(StepSet)
        self.user_options: defaultdict[str, set[Any]] = defaultdict(set)
        #: `MODULE[:ATTRIBUTE]` under which it was found, and another process finds it; None = nobody searched for it.
        self.spec: str | None = None

    @cached_property
    def hooks(self) -> Hooks:
        """What happens in this process: `@app.hooks.connect("task_failure")`."""
        return Hooks()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process as its name, and with what the command line set. Raises PicklingError."""
        if self.spec is None:
            import pickle

            what = f"{self!r} was not imported as MODULE:ATTRIBUTE, so that no other process can import it"
            raise pickle.PicklingError(what)
        return _loaded, (self.spec, self.conf.overrides, self.conf.files)

    def advice(self, name: str) -> str:
        """Return what to do instead of setting something that is no setting here; nothing where the name says nothing.

        An application that knows such names, of another program or of an older version, has an answer of its own.
        """
        return ""

    def config_from_object(self, source: Any, namespace: str = "") -> None:
        """Take the settings of an object, of a mapping, or of a module that is named.

        In a module these are the lower-case names; with a `namespace`, e.g. CELERY, those that begin so in upper case
        and no others: CELERY_BROKER_URL is broker_url. Raises `LoadError` when there is no such module.
        """
        from bootsteps.configuring import values_of

        for name, value in values_of(source, namespace).items():
            self.conf[name] = value

    def config_from_envvar(self, variable: str) -> None:
        """Take the settings of the module that the environment names there. Raises `SettingError` without one."""
        if not os.environ.get(variable):
            raise SettingError(f"{variable} is not set", (), f"export {variable}=MODULE")
        self.config_from_object(os.environ[variable])

    def load(self) -> Sequence[Any]:
        """Import what the application's settings name. Returns the modules in which commands may stand."""
        return [sys.modules[self.main]] if self.main in sys.modules else []

    def renew(self, also: Iterable[str] = ()) -> None:
        """Import the application's modules, and these, anew. Raises `KernelError`; then all is as it was."""
        raise KernelError(f"{self!r} cannot be imported anew", (), "restart the worker")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or 'default'}>"


def find_app(spec: str) -> App:
    """Return the application that `MODULE[:ATTRIBUTE]` names. Raises `LoadError` or `UnknownName`.

    Without an attribute it is the module's `app`, else `celery`, else its only `App`, else the same of a submodule
    `celery`. The current directory is searched for the module, as for every Python program.
    """
    search_here()
    name, _, attribute = spec.partition(":")
    module = _import(name)
    found = getattr(module, attribute, None) if attribute else _search(module)
    if isinstance(found, App):
        found.spec = spec
        return found
    if found is None:
        what = f"module {name!r} has no {attribute!r}" if attribute else f"module {name!r} has no application"
        near = did_you_mean(attribute, vars(module)) if attribute else ""
        raise UnknownName(what, (f"-A {spec}",), near or "name it: -A MODULE:ATTRIBUTE")
    what = f"{spec!r} is a {type(found).__name__}, not an application"
    raise LoadError(what, (f"-A {spec}",), "name a bootsteps.App or one of a class derived from it")


def search_here() -> None:
    """Have modules searched for in the current directory too, as for every Python program."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _loaded(spec: str, overrides: Mapping[str, Any], files: Mapping[str, tuple[Any, str]] = {}) -> App:
    """Return in another process the application that was pickled in the first."""
    app = find_app(spec)
    app.conf.add_file(files)
    app.conf.override(overrides)
    app.load()
    return app


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as exc:
        absent = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else ""
        what = f"module {name!r} cannot be imported: {type(exc).__name__}: {exc}"
        fix = f"python -c 'import {name}' shows where"
        if absent and f"{name}.".startswith(f"{absent}."):
            what, fix = f"there is no module {name!r}", "run where the module is, or set PYTHONPATH"
        elif absent:
            fix = f"install what brings {absent!r}; {fix}"
        raise LoadError(what, (f"-A {name}",), fix) from exc


def _search(module: Any) -> Any:
    for attribute in ("app", "celery"):
        if isinstance(getattr(module, attribute, None), App):
            return getattr(module, attribute)
    apps = {id(value): value for value in vars(module).values() if isinstance(value, App)}
    if len(apps) == 1:
        return next(iter(apps.values()))
    if not apps and hasattr(module, "__path__"):
        from importlib.util import find_spec

        if find_spec(f"{module.__name__}.celery"):
            return _search(_import(f"{module.__name__}.celery"))
    return None
