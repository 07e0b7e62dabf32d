"""A call that is not made yet: a task's name, arguments and options, as a mapping that any serializer can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bootsteps_tasks.shared import current_app

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.canvas.stamping import StampingVisitor
    from bootsteps_tasks.task import Task

__all__ = ["Signature", "as_list", "copied", "plain", "signature"]

#: Options that a later call never replaces: the completion of others depends on them.
KEPT = frozenset({"group_id", "stamped_headers"})
#: The keys on the wire (wire reference 3.5).
BLANK: Mapping[str, Any] = {
    "task": None, "args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False
}  # fmt: skip


class Item:
    """An attribute that is a key of the mapping."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get__(self, sig: Any, owner: type) -> Any:
        return self if sig is None else sig[self._key]

    def __set__(self, sig: Any, value: Any) -> None:
        sig[self._key] = value


class _Option:
    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, sig: Any, owner: type) -> Any:
        return self if sig is None else sig["options"].get(self._name)

    def __set__(self, sig: Any, value: Any) -> None:
        sig["options"][self._name] = value


class Signature(dict[str, Any]):
    """One call of a task, to be made later, maybe with further arguments.

    Made by `Task.s`, `Task.si`, `Task.signature` or `signature(...)`. Arguments that come later stand before those that
    are here; an immutable one takes none.
    """

    #: `subtask_type` of the kinds.
    kinds: ClassVar[dict[str, type[Signature]]] = {}

    task = Item("task")
    args = Item("args")
    kwargs = Item("kwargs")
    options = Item("options")
    subtask_type = Item("subtask_type")
    immutable = Item("immutable")
    id = _Option("task_id")
    root_id = _Option("root_id")
    parent_id = _Option("parent_id")

    def __init__(
        self,
        task: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        app: App | None = None,
        **further: Any,
    ) -> None:
        name, self._task = task, None
        if not isinstance(task, str | None):
            name, self._task = task.name, task
        found = {"task": name, "args": tuple(args or ()), "kwargs": dict(kwargs or {}), "subtask_type": None}
        super().__init__(found, options={**(options or {}), **further}, immutable=immutable)
        self._app = app

    def __init_subclass__(cls, kind: str = "", **further: Any) -> None:
        super().__init_subclass__(**further)
        if kind:
            Signature.kinds[kind] = cls

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], app: App | None = None) -> Signature:
        """Return the signature that a mapping stands for, of the kind that it names."""
        kind = Signature.kinds.get(found.get("subtask_type") or "", Signature)
        return kind.adopted({**BLANK, **found}, app)

    @classmethod
    def adopted(cls, found: Mapping[str, Any], app: App | None) -> Self:
        """Return one of this class with these items and copies of its containers."""
        new = dict.__new__(cls)  # not by way of a `__new__` that combines
        dict.update(new, found)
        new["args"], new["kwargs"] = tuple(found["args"] or ()), dict(found["kwargs"] or {})
        new["options"] = copied(found["options"] or {})
        new._app, new._task = app, None
        return new

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self["task"])

    @property
    def app(self) -> App:
        """The application that it is called for."""
        return self._app or getattr(self._task, "app", None) or current_app()

    @app.setter
    def app(self, app: App) -> None:
        self._app = app

    @property
    def type(self) -> Task[..., Any]:
        """The task itself. Raises `NotRegistered` when the application does not have it."""
        from bootsteps_tasks.errors import NotRegistered

        found = self._task or self.app.tasks.get(self.name)
        if found is None:
            raise NotRegistered(self.name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task's function here."""
        args, kwargs, _ = self.merged(args, kwargs, {})
        return self.type(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Ask workers to run it, with these arguments before its own."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Ask workers to run it and return the result to come. Options as of `Task.apply_async`, before its own."""
        from bootsteps_tasks.canvas.sending import send

        return send(self, args or (), kwargs or {}, options)

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here, as workers would, and return the result."""
        from bootsteps_tasks.canvas.running import run

        return run(self, args or (), kwargs or {}, options)

    def merged(
        self, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        """Return arguments, keyword arguments and options with later ones added (wire reference 3.5)."""
        mine = self["options"]
        kept = KEPT.union(mine.get("stamped_headers") or ())
        later = {name: value for name, value in options.items() if value is not None}
        found = {**mine, **{name: value for name, value in later.items() if name not in kept or name not in mine}}
        if self["immutable"]:
            return tuple(self["args"]), dict(self["kwargs"]), found
        return (*args, *self["args"]), {**self["kwargs"], **kwargs}, found

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """Return a copy with later arguments and options added; nothing that is later done to it shows here."""
        args, kwargs, options = self.merged(args or (), kwargs or {}, options)
        found = type(self).adopted({**self, "args": args, "kwargs": kwargs, "options": options}, self._app)
        found._task = self._task
        return found

    partial = clone

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Self:
        """Return a copy with other arguments, keyword arguments or options, each unless None."""
        found = self.clone()
        given = {"args": args, "kwargs": kwargs, "options": options}
        found.update({key: value for key, value in given.items() if value is not None})
        return found

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options, and return itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self["options"].update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Take no later arguments."""
        self["immutable"] = immutable

    def freeze(self, _id: str | None = None, group_id: str | None = None, chord: Any = None, **place: Any) -> Any:
        """Give it, and all that is in it, the ids under which it will run, and return the result to come."""
        from bootsteps_tasks.canvas.freezing import Place, freeze

        return freeze(self, Place(_id, group_id, place.get("group_index"), chord))

    def link(self, callback: Any) -> Any:
        """Run `callback` with the result as its first argument when this succeeded; return the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Run `errback` when this failed; return the errback.

        A task that takes several arguments is called with request, exception and traceback, in the worker's child; one
        that takes one is sent, with the id of what failed.
        """
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """As `link_error`, and return itself."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, name: str, value: Any) -> Any:
        """Add to a list among the options what is not in it yet."""
        found = self["options"][name] = as_list(self["options"].get(name))
        if value not in found:
            found.append(value)
        return value

    def flatten_links(self) -> list[Any]:
        """Return itself and all callbacks of callbacks."""
        links = (signature(link, app=self._app) for link in as_list(self["options"].get("link")))
        return [self, *(found for link in links for found in link.flatten_links())]

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **stamps: Any) -> Any:
        """Give it, and all that is in it, stamps: headers that travel along, and by which tasks can be revoked."""
        from bootsteps_tasks.canvas.stamping import stamp

        stamp(self, visitor, append_stamps, stamps)
        return self

    def __or__(self, other: Any) -> Any:
        """`a | b`: b runs after a, with its result."""
        from bootsteps_tasks.canvas.combining import combined

        return combined(self, other) if isinstance(other, Signature) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        return self | other

    def __invert__(self) -> Any:
        """`~sig`: run it and wait for its result."""
        return self.apply_async().get()

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Return it as a call in Python."""
        words = [repr(arg) for arg in (*args, *self["args"])]
        words += [f"{name}={value!r}" for name, value in {**self["kwargs"], **kwargs}.items()]
        return f"{self['task']}({', '.join(words)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        # Plain for whoever reads it: a Celery worker has no such class.
        return dict, (plain(self),)

    def __deepcopy__(self, memo: Any) -> Signature:
        return self.clone()


def signature(varies: Any, *args: Any, app: App | None = None, **further: Any) -> Signature:
    """Return a signature: of a task or its name with arguments and options, or a copy of one, also in a mapping."""
    if isinstance(varies, Signature):
        found = varies.clone()
        found._app = app or found._app
        return found
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app)
    return Signature(varies, *args, app=app, **further)


def as_list(value: Any) -> list[Any]:
    """Return a list of what may be one thing, many, or None."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def copied(value: Any) -> Any:
    """Return a copy of a value's containers, deep; signatures stay such."""
    if isinstance(value, Signature):
        return value.clone()
    if isinstance(value, MutableMapping):
        return {key: copied(item) for key, item in value.items()}
    if type(value) is list:
        return [copied(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """Return a value whose signatures are plain mappings."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [plain(item) for item in value]
    return value
