"""What authors subclass.

The contract is Celery's "Extensions and Bootsteps" guide: a step gets `(parent, **options)`, `create(parent)` may
return the object that is started and stopped in its stead, and every method is handed the parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from bootsteps.services import ServiceKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootsteps.settings import Setting, Settings

__all__ = ["ConsumerStep", "Demand", "Requirement", "StartStopStep", "Step"]

#: A step's name (`"Pool"`), its class or `"module:Class"`, or the key of a service.
Requirement = str | type["Step"] | ServiceKey[Any]


class Demand(NamedTuple):
    """Something that the lender of a service must be able to do because of how it is configured."""

    key: ServiceKey[Any]
    capability: str
    #: What asks for it: `task_time_limit = 30`.
    because: str


class Step:
    """A part of a blueprint. It is made, included, started, closed and stopped with it."""

    #: Unique in its blueprint. None = the entry point's name, or the class's.
    name: ClassVar[str | None] = None
    #: Further names by which others may require it: those of steps elsewhere whose place it takes. A step that has
    #: such a name itself goes before it.
    aliases: ClassVar[Sequence[str]] = ()
    #: What the log calls it, if not by its name.
    label: ClassVar[str | None] = None
    #: Needed, and started before this step.
    requires: ClassVar[Sequence[Requirement]] = ()
    #: Started before this step if it is there.
    wants: ClassVar[Sequence[Requirement]] = ()
    #: Order only: this step starts after these, if they are there.
    after: ClassVar[Sequence[Requirement]] = ()
    #: Order only: this step starts before these, if they are there.
    before: ClassVar[Sequence[Requirement]] = ()
    #: The services that this step lends. If there is just one, what `create` returns is lent as it.
    provides: ClassVar[Sequence[ServiceKey[Any]]] = ()
    #: The settings that this step reads.
    settings: ClassVar[Sequence[Setting[Any]]] = ()
    #: The value of a service's `chosen_by` setting that picks this step among others.
    choice: ClassVar[str | None] = None
    #: What the lender of a service can do; compared with the demands of others.
    capabilities: ClassVar[frozenset[str]] = frozenset()
    #: The name of a blueprint that this step runs inside its own (`consumer`).
    runs: ClassVar[str | None] = None
    #: Every other step starts after this one and restarts with it, but for those it needs and the `independent`.
    first: ClassVar[bool] = False
    #: Starts after every step that does not need it.
    last: ClassVar[bool] = False
    #: Not tied to the `first` step.
    independent: ClassVar[bool] = False
    #: Left out, instead of a fault, when something it requires is left out.
    conditional: ClassVar[bool] = False
    #: What `include_if` answers by default. False leaves the step out.
    enabled: bool = True
    #: Seconds for `start`, `close` and `stop`; None = no limit.
    start_timeout_s: ClassVar[float | None] = 30.0
    stop_timeout_s: ClassVar[float | None] = 30.0
    #: What `create` returned.
    obj: Any = None

    def __init__(self, parent: Any, **options: Any) -> None:
        """Prepare. `options` are the command line's values, as many as the signature takes."""

    @classmethod
    def demands(cls, settings: Settings) -> Iterable[Demand]:
        """Return what these settings ask of others. Checked before anything starts."""
        return ()

    def include_if(self, parent: Any) -> bool:
        """Tell whether the step is part of this boot."""
        return self.enabled

    def create(self, parent: Any) -> Any:
        """Return the object that this step starts, stops and lends; or None."""

    def start(self, parent: Any) -> None:
        """Acquire and lend. Does not block and does not turn the loop."""

    def run(self, parent: Any, until: Callable[[], bool]) -> None:
        """Turn the loop until `until()` is true. One step of a blueprint may do this."""

    def close(self, parent: Any) -> None:
        """Take no new work."""

    def idle(self, parent: Any) -> bool:
        """Tell whether all work that was taken is finished."""
        return True

    def stop(self, parent: Any) -> None:
        """Release what `start` acquired."""

    def terminate(self, parent: Any) -> None:
        """Stop at once, without finishing anything."""
        self.stop(parent)

    def shutdown(self, parent: Any) -> None:
        """Called once when the worker is going down, for steps that are restarted with their connection."""

    def info(self, parent: Any) -> dict[str, Any] | None:
        """Return facts for `inspect stats`."""
        return None

    def instantiate(self, name: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what `"module:Class"` names; it is imported here and not earlier."""
        from pkgutil import resolve_name

        return (resolve_name(name) if isinstance(name, str) else name)(*args, **kwargs)


class StartStopStep(Step):
    """A step whose `start`, `stop` and `terminate` are those of the object that `create` returns, unless overridden.

    `close` is not handed on: for most objects (a file, a loop) it means the end, not "take no new work".
    """

    def start(self, parent: Any) -> None:
        self._delegate("start")

    def stop(self, parent: Any) -> None:
        self._delegate("stop")

    def terminate(self, parent: Any) -> None:
        if not self._delegate("terminate"):
            self.stop(parent)

    def _delegate(self, action: str) -> bool:
        method = None if self.obj is self else getattr(self.obj, action, None)
        if method is not None:
            method()
        return method is not None


class ConsumerStep(StartStopStep):
    """Consumes messages of its own beside the tasks: define `get_consumers`."""

    requires: ClassVar[Sequence[Requirement]] = ("Connection",)
    #: The kombu consumers of the present connection.
    consumers: Sequence[Any] = ()

    def get_consumers(self, channel: Any) -> Sequence[Any] | None:
        """Return the kombu consumers to start on this channel, anew for every connection."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define get_consumers(channel)")

    def start(self, parent: Any) -> None:
        channel = parent.connection.channel()
        self.consumers = self.get_consumers(channel) or ()
        if not self.consumers:
            channel.close()
        for consumer in self.consumers:
            consumer.consume()

    def stop(self, parent: Any) -> None:
        self._close(parent, cancel=True)

    def shutdown(self, parent: Any) -> None:
        self._close(parent, cancel=False)

    def _close(self, parent: Any, cancel: bool) -> None:
        consumers, self.consumers = self.consumers, ()
        channels = {id(consumer.channel): consumer.channel for consumer in consumers if consumer.channel}
        lost = (OSError, *getattr(parent.connection, "connection_errors", ()))
        for action in (*(c.cancel for c in consumers if cancel), *(ch.close for ch in channels.values())):
            try:
                action()
            except lost as exc:  # the connection is gone, and the consumer with it
                parent.log.debug("closing a consumer: %s", exc)
