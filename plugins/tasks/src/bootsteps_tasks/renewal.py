"""An application imported a second time, after its files have changed."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

from bootsteps import KernelError, find_app
from bootsteps.errors import LoadError
from bootsteps_tasks import shared

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["imported_anew", "modules_of"]


def modules_of(app: App, loaded: Iterable[ModuleType] = ()) -> list[str]:
    """Return the names of the application's own modules that are imported, sorted.

    They are the module in which it stands, those that it loads (its settings name them; `loaded` are further ones), and
    whatever else of the same packages is imported.
    """
    named = {(app.spec or "").partition(":")[0], app.main or "", *app.conf["imports"], *app.conf["include"]}
    named |= {task.__module__ for task in app.tasks.values()} | {module.__name__ for module in loaded}
    named = {name for name in named if name in sys.modules and not name.startswith("bootsteps")}
    packages = {name.partition(".")[0] for name in named}
    packages = {name for name in packages if hasattr(sys.modules.get(name), "__path__")}
    inside = {name for name in list(sys.modules) if name.partition(".")[0] in packages}
    return sorted(name for name in named | inside if name != "__main__")


def imported_anew(app: App, also: Iterable[str] = ()) -> tuple[App, frozenset[str]]:
    """Return the application that its modules make now, and their names. Raises `KernelError`: all is as it was."""
    if app.spec is None:
        raise KernelError(f"{app!r} was not imported as MODULE:ATTRIBUTE", (), "kernel worker -A MODULE:ATTRIBUTE")
    names = frozenset((*modules_of(app), *(name for name in also if name in sys.modules)))
    old = {name: sys.modules.pop(name) for name in names}
    before, declared = set(sys.modules), shared.forget(names)
    _forget_compiled(old.values())
    try:
        fresh = _load(app, also)
    except BaseException as exc:
        _put_back(old, set(sys.modules) - before)
        shared.restore(declared)
        if isinstance(exc, KernelError) or not isinstance(exc, Exception | SystemExit):
            raise
        what = f"the application cannot be imported anew: {type(exc).__name__}: {exc}"
        raise LoadError(what, (f"-A {app.spec}",), "correct it") from exc
    finally:
        app.set_current()
    return fresh, names


def _forget_compiled(modules: Iterable[ModuleType]) -> None:
    """Delete compiled code: it is told from that of a file of the same size only if a second lies between them."""
    for module in modules:
        compiled = getattr(module, "__cached__", None)
        if compiled:
            with suppress(OSError):
                os.unlink(compiled)
    importlib.invalidate_caches()
    linecache.clearcache()


def _load(app: App, also: Iterable[str]) -> App:
    fresh = find_app(app.spec or "")
    assert type(fresh) is type(app) or hasattr(fresh, "tasks"), f"{fresh!r} is an application with tasks"
    fresh.conf.override(app.conf.overrides)
    fresh.load()
    for name in also:
        importlib.import_module(name)
    shared.join(fresh)  # type: ignore[arg-type]
    return fresh  # type: ignore[return-value]


def _put_back(old: dict[str, ModuleType], fresh: set[str]) -> None:
    """Let the old modules be those that everybody imports, also by way of their packages."""
    for name in fresh:
        sys.modules.pop(name, None)
    sys.modules.update(old)
    for name, module in old.items():
        package, _, last = name.rpartition(".")
        if package in old:
            setattr(old[package], last, module)
