"""The parent of steps, and each step's own view of it.

A view hands out the services that its step declared and no others, so that the drawn graph is the true graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar, overload

from bootsteps.errors import KernelError, UndeclaredAccess
from bootsteps.hooks import Hooks
from bootsteps.services import ServiceKey

if TYPE_CHECKING:
    import logging

    from bootsteps.app import App
    from bootsteps.blueprint import Blueprint
    from bootsteps.settings import Setting
    from bootsteps.step import Step

__all__ = ["Access", "CommandView", "ConsumerView", "Parent", "Services", "State", "View", "WorkerView"]

T = TypeVar("T")
D = TypeVar("D")

NOTHING: Any = object()


class State(IntEnum):
    """Where a blueprint stands; the numbers are Celery's."""

    NEW = 0
    RUN = 1
    CLOSE = 2
    TERMINATE = 3


class Services:
    """What is lent in one blueprint, and beneath it in the blueprint around."""

    def __init__(self, outer: Services | None = None) -> None:
        self._outer = outer
        self._lent: dict[str, tuple[str, Any]] = {}
        #: The names of all services of the composition, lent now or not.
        self.known: set[str] = set()

    def lend(self, name: str, value: Any, lender: str) -> None:
        """Make a value available."""
        self._lent[name] = (lender, value)

    def withdraw(self, lender: str) -> None:
        """Take back all that this step lent."""
        self._lent = {name: entry for name, entry in self._lent.items() if entry[0] != lender}

    def find(self, name: str) -> Any:
        """Return what is lent under a name. Raises LookupError when nothing is."""
        if name in self._lent:
            return self._lent[name][1]
        if self._outer is None:
            raise LookupError(name)
        return self._outer.find(name)

    def knows(self, name: str) -> bool:
        """Tell whether some step of this composition lends such a service."""
        return name in self.known or (self._outer is not None and self._outer.knows(name))


class Parent:
    """What steps work for: the worker, the consumer, or whoever runs a blueprint.

    `options` are the values of the command line by name, handed to every step's `__init__`.
    """

    def __init__(
        self,
        app: App,
        *,
        hostname: str = "",
        options: Mapping[str, Any] | None = None,
        outer: Parent | None = None,
    ) -> None:
        self.app = app
        self.hostname = hostname
        self.options = dict(options or {})
        self.services: Services = Services(outer.services if outer else None)
        self.hooks: Hooks = outer.hooks if outer else Hooks(app.hooks)
        self.blueprint: Blueprint

    @property
    def steps(self) -> list[Step]:
        """The steps of the blueprint that take part, in boot order."""
        return self.blueprint.steps

    def get(self, key: ServiceKey[T]) -> T:
        """Return a service, whoever lends it. Raises LookupError while nobody does."""
        return self.services.find(key.name)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        services = self.__dict__.get("services")
        if services is not None and not name.startswith("_"):
            try:
                return services.find(name)
            except LookupError:
                if services.knows(name):
                    return None
        raise AttributeError(f"{type(self).__name__} has no {name!r}, and no step lends such a service")


@dataclass(slots=True)
class Access:
    """What one step may use, made from its declarations."""

    step: str
    origin: str
    log: logging.Logger
    #: Services that it needs or wants, and lends, by name.
    reads: frozenset[str] = frozenset()
    lends: tuple[str, ...] = ()
    settings: frozenset[str] = frozenset()
    #: Run when the step has stopped, last first.
    releases: list[Callable[[], Any]] = field(default_factory=list)


class View:
    """A parent as one step sees it. Attributes are the parent's own, or services by name."""

    __slots__ = ("_access", "_parent")
    _access: Access
    _parent: Parent

    def __init__(self, parent: Parent, access: Access) -> None:
        object.__setattr__(self, "_parent", parent)
        object.__setattr__(self, "_access", access)

    @property
    def log(self) -> logging.Logger:
        """The step's own logger, named `<blueprint>.<step>`."""
        return self._access.log

    @overload
    def get(self, key: ServiceKey[T]) -> T: ...
    @overload
    def get(self, key: ServiceKey[T], default: D) -> T | D: ...
    def get(self, key: ServiceKey[Any], default: Any = NOTHING) -> Any:
        """Return a service that the step declared.

        Raises `UndeclaredAccess` if it did not, and `KernelError` when nobody lends it now and no default is given.
        """
        self._check(key.name, key.name.upper())
        try:
            return self._parent.services.find(key.name)
        except LookupError:
            if default is not NOTHING:
                return default
        what = f"step {self._access.step!r} reads the service {key.name!r}, which is not lent now"
        raise KernelError(what, (self._access.origin,), "read it between start and stop of the step that lends it")

    def lend(self, key: ServiceKey[T], value: T) -> None:
        """Lend a service that the step provides, until it stops. Raises `UndeclaredAccess`."""
        if key.name not in self._access.lends:
            what = f"step {self._access.step!r} lends the service {key.name!r} without declaring it"
            raise UndeclaredAccess(what, (self._access.origin,), f"add {key.name.upper()} to provides")
        self._parent.services.lend(key.name, value, self._access.step)

    def setting(self, setting: Setting[T]) -> T:
        """Return the value of a setting that the step declared. Raises `UndeclaredAccess` or `SettingError`."""
        if setting.name not in self._access.settings:
            what = f"step {self._access.step!r} reads the setting {setting.name!r} without declaring it"
            raise UndeclaredAccess(what, (self._access.origin,), f"add {setting.name.upper()} to settings")
        return self._parent.app.conf.get(setting)

    def on_stop(self, release: Callable[[], Any]) -> None:
        """Have this called when the step has stopped, also after half a start; the last registered first."""
        self._access.releases.append(release)

    def _check(self, name: str, word: str) -> None:
        if name not in self._access.reads and name not in self._access.lends:
            what = f"step {self._access.step!r} reads the service {name!r} without declaring it"
            fix = f"add {word} (or the step that lends it) to requires or wants"
            raise UndeclaredAccess(what, (self._access.origin,), fix)

    def __getattr__(self, name: str) -> Any:
        parent: Parent = self._parent
        if parent.services.knows(name) or name in self._access.reads:
            self._check(name, name.upper())
            try:
                return parent.services.find(name)
            except LookupError:
                return None
        return getattr(parent, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._access.lends:
            self.lend(ServiceKey(name), value)
        else:
            setattr(self._parent, name, value)

    def __repr__(self) -> str:
        return repr(self._parent)

    def __str__(self) -> str:
        return str(self._parent)

    def __eq__(self, other: object) -> bool:
        return self._parent is (other._parent if isinstance(other, View) else other)

    def __hash__(self) -> int:
        return hash(self._parent)


#: What the methods of a worker step, of a consumer step and a remote command are handed.
WorkerView = View
ConsumerView = View
CommandView = View
