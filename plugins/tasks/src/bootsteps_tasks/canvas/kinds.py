"""Chains, groups and chords."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bootsteps_tasks.canvas.signature import Signature, signature
from bootsteps_tasks.shared import current_app

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["chain", "chord", "group", "members_of"]


class _Tasks:
    """The attribute `tasks`, which stands among the keyword arguments."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get__(self, sig: Any, owner: type) -> Any:
        return self if sig is None else sig["kwargs"][self._key]

    def __set__(self, sig: Any, value: Any) -> None:
        sig["kwargs"][self._key] = value


class _Canvas(Signature):
    """A signature made of others."""

    @classmethod
    def of(cls, tasks: Iterable[Signature], app: App | None = None, options: Mapping[str, Any] | None = None) -> Any:
        """Return one of just these tasks, themselves and no copies."""
        new = dict.__new__(cls)
        items = {"task": f"celery.{cls.__name__}", "args": (), "kwargs": {"tasks": list(tasks)}}
        dict.update(new, items, options=dict(options or {}), subtask_type=cls.__name__, immutable=False)
        new._app, new._task = app, None
        return new

    @classmethod
    def _new(cls, task: str, kind: str, kwargs: dict[str, Any], app: App | None, options: Mapping[str, Any]) -> Any:
        items = {"task": task, "kwargs": kwargs, "options": options, "subtask_type": kind}
        return cls.adopted({"args": (), "immutable": False, **items}, app)

    @property
    def app(self) -> App:
        return self._app or next(filter(None, (_app_of(task) for task in self._parts())), None) or current_app()

    @app.setter
    def app(self, app: App) -> None:
        self._app = app

    def _parts(self) -> Iterator[Signature]:
        yield from self["kwargs"]["tasks"]

    def set_immutable(self, immutable: bool) -> None:
        """Take no later arguments, in each of its tasks."""
        for task in self._parts():
            task.set_immutable(immutable)


def _app_of(sig: Signature) -> App | None:
    if sig._app is not None:
        return sig._app
    if isinstance(sig, _Canvas):
        return next(filter(None, (_app_of(task) for task in sig._parts())), None)
    return getattr(sig._task, "app", None)


class chain(_Canvas, kind="chain"):
    """One after the other, each with the result of the one before: `chain(a, b, c)`, the same as `a | b | c`.

    What comes out may be another kind: a group that is followed by something is the header of a chord.
    """

    tasks = _Tasks("tasks")

    def __new__(cls, *tasks: Any, app: App | None = None, **options: Any) -> Any:
        found = listed(tasks, app)
        if options or not found:
            return cls.of(found, app, options)
        result: Any = found[0]
        for task in found[1:]:
            result = result | task
        return result

    def __init__(self, *tasks: Any, app: App | None = None, **options: Any) -> None:
        """Made in `__new__`, since the kind depends on the tasks."""

    @classmethod
    def adopted(cls, found: Mapping[str, Any], app: App | None) -> Any:
        new = super().adopted(found, app)
        new["kwargs"]["tasks"] = [signature(task, app=app) for task in new["kwargs"].get("tasks") or ()]
        return new

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The same as `delay`."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "<chain of nothing>"


class group(_Canvas, kind="group"):
    """Many at one time: `group(a, b)` or `group(add.s(i, i) for i in range(10))`. Its result is a `GroupResult`."""

    tasks = _Tasks("tasks")

    def __new__(cls, *tasks: Any, app: App | None = None, **options: Any) -> Any:
        found = tasks[0].tasks if len(tasks) == 1 and isinstance(tasks[0], group) else listed(tasks, app)
        return cls._new("celery.group", "group", {"tasks": found}, app, options)

    def __init__(self, *tasks: Any, app: App | None = None, **options: Any) -> None:
        """Made in `__new__`."""

    @classmethod
    def adopted(cls, found: Mapping[str, Any], app: App | None) -> Any:
        new = super().adopted(found, app)
        new["kwargs"]["tasks"] = [signature(task, app=app) for task in new["kwargs"].get("tasks") or ()]
        return new

    def __call__(self, *args: Any, **options: Any) -> Any:
        """As `apply_async`, with arguments for each task."""
        return self.apply_async(args, **options)

    def link(self, callback: Any) -> Any:
        """Run the callback, without the result, after the first task (as in Celery: mostly you want a chord)."""
        return self.tasks[0].link(signature(callback).set(immutable=True))

    def link_error(self, errback: Any) -> Any:
        """Run the errback for each task that failed."""
        return tuple(task.link_error(signature(errback)) for task in self.tasks)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Any:
        """Start the tasks one after the other, `step` seconds apart, from `start` to at most `stop`."""
        for number, task in enumerate(self.tasks):
            when = start + number * step
            task.set(countdown=when if stop is None else min(when, stop))
        return self

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.tasks))})"


class chord(_Canvas, kind="chord"):
    """`chord(header, body)`: when all of the header have returned, the body runs with the list of their results."""

    tasks = _Tasks("header")
    body = _Tasks("body")

    def __new__(cls, header: Any = (), body: Any = None, *, app: App | None = None, **options: Any) -> Any:
        kwargs = {"kwargs": {}, "header": header, "body": body}
        return cls._new("celery.chord", "chord", kwargs, app, options)

    def __init__(self, header: Any = (), body: Any = None, *, app: App | None = None, **options: Any) -> None:
        """Made in `__new__`."""

    @classmethod
    def adopted(cls, found: Mapping[str, Any], app: App | None) -> Any:
        new = super().adopted(found, app)
        kwargs = new["kwargs"]
        kwargs["header"] = members_of(kwargs.get("header") or (), app)
        body = kwargs.get("body")
        kwargs["body"] = None if body is None else signature(body, app=app)
        return new

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body if it has none yet."""
        found = self if body is None else chord(self.tasks, body, app=self._app, **self.options)
        return found.apply_async((), **options)

    def _parts(self) -> Iterator[Signature]:
        yield from self.tasks
        if self.body is not None:
            yield self.body

    def set_immutable(self, immutable: bool) -> None:
        """Take no later arguments, in each task of the header."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Run the callback after the body."""
        return self.body.link(callback)

    def link_error(self, errback: Any) -> Any:
        """Run the errback when the body fails or cannot run.

        With the setting `task_allow_error_cb_on_chord_header` also for each task of the header that fails.
        """
        everywhere = self.app.conf["task_allow_error_cb_on_chord_header"]
        for task in self.tasks:
            if everywhere or isinstance(task, chord):
                task.link_error(signature(errback).set(immutable=True) if everywhere else errback)
        return self.body.link_error(errback)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"chord([{', '.join(map(repr, self.tasks))}], {self.body!r})"


def listed(tasks: tuple[Any, ...], app: App | None) -> list[Signature]:
    """Return the tasks that are given one by one, or as one iterable."""
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
        tasks = tuple(tasks[0])
    return [task if isinstance(task, Signature) else signature(task, app=app) for task in tasks]


def members_of(header: Any, app: App | None) -> list[Signature]:
    """Return the tasks of a header, which may be a list, a group, or one task."""
    if isinstance(header, Mapping):
        found = header if isinstance(header, Signature) else signature(header, app=app)
        header = found.tasks if isinstance(found, group | chain) else [found]
    return [signature(task, app=app) for task in header]
