"""From functions and classes to registered tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from bootsteps.errors import DuplicateName
from bootsteps_tasks.options import TASK_OPTIONS, refuse_unknown
from bootsteps_tasks.task import FROM_SETTINGS, Task

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["Registry", "annotate", "made_of", "script"]


class Registry(dict[str, Task[..., Any]]):
    """The tasks of one application by name; those of the protocol itself (`celery.*`) come when they are asked for."""

    def __init__(self, builtin: Callable[[str], Task[..., Any] | None]) -> None:
        super().__init__()
        self._builtin = builtin

    def __missing__(self, name: str) -> Task[..., Any]:
        found = self._builtin(name) if name.startswith("celery.") else None
        if found is None:
            raise KeyError(name)
        return self.setdefault(name, found)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the task of that name, else the default."""
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def add(self, task: Task[..., Any]) -> None:
        """Take a task; the same function may come again. Raises `DuplicateName` when another has its name."""
        other = super().get(task.name)
        if other is not None and _place(other) != _place(task):
            both = (f"first:  {_place(other)}", f"second: {_place(task)}")
            raise DuplicateName(f"two functions claim the task name {task.name!r}", both, "@app.task(name=...) on one")
        self[task.name] = task


def made_of(
    app: App, fun: Callable[..., Any], name: str, base: type[Task[..., Any]] | None, bind: bool, options: dict[str, Any]
) -> Task[..., Any]:
    """Return the task of a function. Raises TypeError for an unknown option or base."""
    refuse_unknown(f"task {name!r}", options, TASK_OPTIONS)
    base = Task if base is None else base
    if Task not in getattr(base, "__mro__", ()):
        raise TypeError(f"the base of task {name!r} is a class derived from bootsteps_tasks.Task, not {base!r}")
    called = _with_models(fun, name, {**_options_of(base), **options})
    found = {key: value for key, value in options.items() if value is not None or key not in FROM_SETTINGS}
    kind = type(fun.__name__, (base,), {**_told(found), "run": called if bind else staticmethod(called)})
    task: Task[..., Any] = kind()
    update_wrapper(task, fun)
    task.app, task.name, task.bind = app, name, bind
    return task


def annotate(task: Task[..., Any], annotations: Iterable[Any]) -> None:
    """Give a task what the setting `task_annotations` says of it; its handlers may be given so too."""
    for each in annotations:
        found = each.annotate(task) if hasattr(each, "annotate") else {**each.get("*", {}), **each.get(task.name, {})}
        for name, value in _told(dict(found or {})).items():
            setattr(type(task), name, value)


def _options_of(base: type) -> dict[str, Any]:
    return {name: getattr(base, name) for name in ("pydantic", *_PYDANTIC)}


_PYDANTIC = ("pydantic_strict", "pydantic_context", "pydantic_dump_kwargs")


def _with_models(fun: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    if not options["pydantic"]:
        return fun
    from bootsteps_tasks.arguments import with_models

    return with_models(fun, name, options)


def _told(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as a class has them."""
    both = options.get("acks_on_failure_or_timeout")
    if both is not None:
        options = {"acks_on_failure": both, "acks_on_timeout": both, **options}
    for name in ("throws", "autoretry_for", "dont_autoretry_for"):
        if name in options:
            value = options[name] or ()
            options[name] = (value,) if isinstance(value, type) else tuple(value)
    return options


def _place(task: Task[..., Any]) -> str:
    fun = getattr(task, "__wrapped__", None) or task.run
    code = getattr(fun, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{fun.__module__}.{getattr(fun, '__qualname__', fun)}{where}"


def script() -> str:
    """Return the name under which the running script can be imported."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = str(getattr(main, "__file__", "") or "")
    return file.rpartition("/")[2].removesuffix(".py") or "__main__"
