"""What other plugins add to applications: `app.control`, `app.events`."""

from __future__ import annotations

from typing import Any

from bootsteps.errors import did_you_mean
from bootsteps_tasks.places import catalogue

__all__ = ["GROUP", "attribute_of"]

GROUP = "app.attributes"


def attribute_of(app: Any, name: str) -> Any:
    """Return what the plugin of this name makes for an application: it is called with it.

    Raises AttributeError when no plugin has that name, `LoadError` when it cannot be imported.
    """
    plugins = [] if name.startswith("_") else catalogue().group(GROUP)
    for plugin in plugins:
        if plugin.name == name:
            make: Any = plugin.load()
            return make(app)
    known = {*dir(app), *(plugin.name for plugin in plugins)}
    raise AttributeError(
        f"an application has no {name!r}; {did_you_mean(name, known) or 'no installed plugin adds it'}"
    )
