"""Tasks that belong to no application yet: a library declares them, every application has them.

This is the one place with state of the module: a decorator that runs before there is an application needs some.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from bootsteps_tasks.task import Task

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["current_app", "forget", "join", "restore", "set_current", "shared_task"]

P = ParamSpec("P")
R = TypeVar("R")

_declared: list[SharedTask] = []
_current: list[App] = []


class SharedTask:
    """Stands for the task of the present application: whatever is asked of it is answered by that."""

    def __init__(self, fun: Callable[..., Any], options: dict[str, Any]) -> None:
        self._fun = fun
        self._options = options

    def join(self, app: App) -> None:
        """Register the task with an application."""
        decorator: Any = app.task(**self._options)
        decorator(self._fun)

    @property
    def _task(self) -> Task[..., Any]:
        app = current_app()
        return app.tasks[self._options.get("name") or app.task_name(self._fun)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._task(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            return getattr(self._fun, name)
        return getattr(self._task, name)

    def __repr__(self) -> str:
        return f"<@shared_task: {self._options.get('name') or self._fun.__qualname__}>"


@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(**options: Any) -> Callable[[Callable[..., R]], Task[..., R]]: ...
def shared_task(fun: Any = None, /, **options: Any) -> Any:
    """Declare a task for every application, those made later too. Options as of `App.task`.

    Calling it (`delay`, ...) asks the present application, which is the one made last.
    """
    if fun is None:
        return lambda function: _declare(function, options)
    return _declare(fun, options)


def _declare(fun: Callable[..., Any], options: dict[str, Any]) -> SharedTask:
    task = SharedTask(fun, options)
    _declared.append(task)
    return task


def join(app: App) -> None:
    """Register the shared tasks that an application does not have yet."""
    while app.shared_joined < len(_declared):
        app.shared_joined += 1
        _declared[app.shared_joined - 1].join(app)


def forget(modules: Container[str]) -> list[SharedTask]:
    """Forget the shared tasks of these modules, which are about to be imported anew; return all as they were."""
    before = list(_declared)
    _declared[:] = [task for task in before if task._fun.__module__ not in modules]
    return before


def restore(before: list[SharedTask]) -> None:
    """Undo `forget`."""
    _declared[:] = before


def set_current(app: App) -> None:
    """Make it the present application."""
    _current[:] = [app]


def current_app() -> App:
    """Return the application that was made, or made current, last; one of its own if there is none."""
    if not _current:
        from bootsteps_tasks.app import App

        App()
    return _current[0]
