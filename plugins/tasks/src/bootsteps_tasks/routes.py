"""Which options a task's name gives its messages: the setting `task_routes`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from importlib import import_module
from typing import Any

__all__ = ["Router", "route_of", "routers"]

#: `(name, args, kwargs, options, task) ->` a queue's name, a mapping of options, or None for others to decide.
Router = Callable[..., Any]


class _ByName:
    """A mapping from names, globs and compiled patterns, or pairs of these, to routes; names go before patterns."""

    def __init__(self, given: Any) -> None:
        pairs = given.items() if isinstance(given, Mapping) else given
        self._names: dict[str, Any] = {}
        self._patterns: list[tuple[re.Pattern[str], Any]] = []
        for key, route in pairs:
            if isinstance(key, re.Pattern):
                self._patterns.append((key, route))
            elif any(char in key for char in "*?["):
                self._patterns.append((re.compile(translate(key)), route))
            else:
                self._names[key] = route

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name in self._names:
            return self._names[name]
        return next((route for pattern, route in self._patterns if pattern.match(name)), None)


def routers(given: Any) -> tuple[Router, ...]:
    """Return the functions that `task_routes` means. Raises ValueError for what is no route."""
    if given is None:
        return ()
    if isinstance(given, Mapping) or callable(given) or isinstance(given, str):
        given = [given]
    return tuple(map(_router, given))


def _router(given: Any) -> Router:
    if isinstance(given, str):
        module, _, name = given.replace(":", ".").rpartition(".")
        try:
            given = getattr(import_module(module), name)
        except (ImportError, ValueError, AttributeError) as exc:
            raise ValueError(f"{given!r} names no function: {exc}") from exc
    if isinstance(given, type):
        given = given()
    if hasattr(given, "route_for_task"):
        return lambda name, args, kwargs, options, task=None: given.route_for_task(name, args, kwargs)
    if callable(given):
        return given  # type: ignore[no-any-return]
    try:
        return _ByName(given)
    except (TypeError, ValueError):
        raise ValueError(f"{given!r} is neither a mapping from task names nor a function") from None


def route_of(
    found: Iterable[Router], name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any
) -> dict[str, Any]:
    """Return the options of the first router that knows the task; none when no one does."""
    for router in found:
        route = router(name, args, kwargs, dict(options), task=task)
        if route is not None:
            return {"queue": route} if isinstance(route, str) else dict(route)
    return {}
