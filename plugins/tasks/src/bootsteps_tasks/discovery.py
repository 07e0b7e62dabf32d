"""What an application finds by itself: listeners among the installed plugins, task modules in packages."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bootsteps.app import WITHOUT
from bootsteps.discovery import Broken
from bootsteps_tasks.places import catalogue

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["listen", "related"]

log = logging.getLogger(__name__)


def listen(app: App) -> None:
    """Register the installed `kernel.hooks` plugins with the application's hooks, those that are not yet."""
    without = app.conf.get(WITHOUT)
    for plugin in catalogue().group("kernel.hooks"):
        if app.hooks.has(str(plugin)) or any(map(plugin.answers_to, without)):
            continue
        found = catalogue().load(plugin)
        if isinstance(found, Broken):
            log.warning("%s cannot be imported and hears nothing: %s", plugin, found.error)
        else:
            app.hooks.register(found, str(plugin))


def related(package: str, name: str | None) -> str | None:
    """Return the name of the package's submodule; None when it has none. Raises ImportError without the package."""
    if name is None:
        return package
    try:
        return f"{package}.{name}" if find_spec(f"{package}.{name}") is not None else None
    except ModuleNotFoundError as exc:
        if exc.name == package or package.startswith(f"{exc.name}."):
            raise
        return None
