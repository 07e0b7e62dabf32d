"""One task for many items: in one message, or in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from bootsteps_tasks.canvas.kinds import group
from bootsteps_tasks.canvas.signature import Signature, plain, signature

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["chunks", "xmap", "xstarmap"]


class _Pieces(Signature):
    """A task and its items."""

    _name = ""

    def __init__(self, task: Any, it: Iterable[Any], app: App | None = None, **options: Any) -> None:
        found = signature(task, app=app)
        super().__init__(self._name, (), {"task": plain(found), "it": list(it)}, options, immutable=True)
        self["subtask_type"] = type(self).__name__
        self._app = app or found._app or getattr(found._task, "app", None)


class xmap(_Pieces, kind="xmap"):
    """Run a task in one message for each item, one after the other; its result is the list of results."""

    _name = "celery.map"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task']['task']}(x) for x in {self.kwargs['it']!r}]"


class xstarmap(_Pieces, kind="xstarmap"):
    """As `xmap`, each item being the arguments of one call."""

    _name = "celery.starmap"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task']['task']}(*x) for x in {self.kwargs['it']!r}]"


class chunks(_Pieces, kind="chunks"):
    """Run a task for each item, `n` of them in one message: a group of `xstarmap`."""

    _name = "celery.chunks"

    def __init__(self, task: Any, it: Iterable[Any], n: int, app: App | None = None, **options: Any) -> None:
        super().__init__(task, it, app, **options)
        self["kwargs"]["n"] = n

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it."""
        return self.apply_async(**options)

    def group(self) -> Any:
        """Return the group that it stands for."""
        items, kwargs = iter(self.kwargs["it"]), self.kwargs
        parts = iter(lambda: list(islice(items, kwargs["n"])), [])
        options = {name: value for name, value in self.options.items() if name != "task_id"}
        found = group((xstarmap(kwargs["task"], part, self._app, **options) for part in parts), app=self._app)
        if self.options.get("task_id"):
            found.options["task_id"] = self.options["task_id"]
        return found

    @classmethod
    def apply_chunks(cls, task: Mapping[str, Any], it: Iterable[Any], n: int, app: App | None = None) -> Any:
        """Send it, as the task `celery.chunks` does for old clients."""
        return cls(task, it, n, app=app).apply_async()
