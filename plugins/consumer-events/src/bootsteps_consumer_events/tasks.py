"""A task as its events tell of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from bootsteps_consumer_events.state import State
    from bootsteps_consumer_events.workers import Worker

__all__ = ["READY", "STATE_OF", "Task", "precedence"]

STATE_OF: Mapping[str, str] = {
    "sent": "PENDING",
    "received": "RECEIVED",
    "started": "STARTED",
    "failed": "FAILURE",
    "retried": "RETRY",
    "succeeded": "SUCCESS",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
}
READY = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
#: Which of two states that came out of order is the later one: the one further to the left (Celery's list).
ORDER = ("SUCCESS", "FAILURE", None, "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING")
#: What a late event still tells: these fields are known to no other.
TOLD_BY: Mapping[str, frozenset[str]] = {
    "RECEIVED": frozenset({"name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"})
}
#: Attributes that no event may set.
OWN = frozenset({"children", "cluster_state", "worker"})
#: What `info` shows.
SHOWN = (
    *("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key"),
    *("root_id", "parent_id"),
)


def precedence(state: str) -> int:
    """Return the rank of a state: the smaller, the later in a task's life. States of your own rank together."""
    return ORDER.index(state if state in ORDER else None)


class Task:
    """What is known of one task; every field that an event brings is an attribute, None until then."""

    name: str | None = None
    state: str = "PENDING"
    #: When events of these kinds came, as their senders' clocks say, in seconds since the epoch.
    sent: float | None = None
    received: float | None = None
    started: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    #: Of the event that brought the present state.
    timestamp: float | None = None
    #: repr of the arguments.
    args: str | None = None
    kwargs: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    worker: Worker | None = None
    result: str | None = None
    exception: str | None = None
    traceback: str | None = None
    #: Seconds.
    runtime: float | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    #: Who sent it, of its `task-sent`.
    client: str | None = None
    clock: int = 0

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What further fields events bring."""

    def __init__(self, uuid: str, cluster_state: State | None = None, **fields: Any) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.children: WeakSet[Task] = WeakSet()
        self.__dict__.update(fields)

    def event(
        self, type_: str, timestamp: float | None = None, local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Take an event `task-<type_>` into account, also one that comes late."""
        found, state = dict(fields or {}), STATE_OF.get(type_)
        if state is not None:
            setattr(self, type_, timestamp)
        else:
            state = type_.upper()
        if "RETRY" not in (state, self.state) and precedence(state) > precedence(self.state):
            keep = TOLD_BY.get(state)
            if keep is not None:
                found = {name: value for name, value in found.items() if name in keep}
        else:
            found |= {"state": state, "timestamp": timestamp}
        self.__dict__.update((name, value) for name, value in found.items() if name not in OWN)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] = ()) -> dict[str, Any]:
        """Return what is known, for people to look at."""
        names = (*(SHOWN if fields is None else fields), *extra)
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return every field as JSON can hold it."""
        names = [name for name in Task.__annotations__ if name != "worker"]
        found: dict[str, Any] = {"uuid": self.uuid} | {name: getattr(self, name) for name in names}
        found["worker"] = self.worker.hostname if self.worker is not None else None
        return found | {"children": sorted(child.uuid for child in self.children)}

    @property
    def id(self) -> str:
        return self.uuid

    @property
    def ready(self) -> bool:
        """It is over."""
        return self.state in READY

    @property
    def origin(self) -> str | None:
        """Who told of it: the worker, or before that the client."""
        return self.client if self.worker is None else self.worker.id

    @property
    def parent(self) -> Task | None:
        """The task that sent it, if that is known."""
        return self._relative(self.parent_id)

    @property
    def root(self) -> Task | None:
        """The first task of its workflow, if that is known."""
        return self._relative(self.root_id)

    def _relative(self, uuid: str | None) -> Task | None:
        return self.cluster_state.tasks.get(uuid) if uuid and self.cluster_state is not None else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.uuid == self.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"
