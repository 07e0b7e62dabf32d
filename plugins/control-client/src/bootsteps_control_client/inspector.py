"""`app.control.inspect(...)`: questions to workers, one answer for each node."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_control_client.control import Control

__all__ = ["DuplicateNodename", "Inspect", "by_node"]


class DuplicateNodename(UserWarning):
    """Two workers have one name: commands for one reach both, and one answer hides the other."""


def by_node(answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `{node: answer}`; the last answer of a name is kept, with a warning."""
    found: dict[str, Any] = {}
    twice: set[str] = set()
    for answer in answers:
        twice |= found.keys() & answer.keys()
        found.update(answer)
    if twice:
        names = ", ".join(sorted(twice))
        what = f"several workers answered as {names}: give each a name of its own, kernel worker -n NAME@%h"
        warnings.warn(DuplicateNodename(what), stacklevel=3)
    return found


class Inspect:
    """Asks all workers, or some. Each method returns `{node: answer}`, None when nobody answered.

    With `destination` as a text, the answer of that node alone. The other options are those of `Control.broadcast`.
    """

    def __init__(
        self,
        control: Control,
        destination: str | Sequence[str] | None = None,
        timeout: float | None = 1.0,
        callback: Callable[[dict[str, Any]], object] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self._control: Control = control if app is None else app.control
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def request(self, command: str, **arguments: Any) -> Any:
        """Ask with any command, also one of your own."""
        answers = self._control.broadcast(
            command, arguments, self.destination, self.connection, True, self.timeout, self.limit, self.callback,
            pattern=self.pattern, matcher=self.matcher,
        )  # fmt: skip
        if not answers:
            return None
        found = by_node(answers)
        return found.get(self.destination) if isinstance(self.destination, str) else found

    #: As Celery's own programs call it.
    _request = request

    def ping(self, destination: str | Sequence[str] | None = None) -> Any:
        """`{"ok": "pong"}`."""
        if destination:
            self.destination = destination
        return self.request("ping")

    def active(self, safe: bool | None = None) -> Any:
        """The requests that are executed; with `safe` their arguments as text."""
        return self.request("active", safe=safe)

    def reserved(self, safe: bool | None = None) -> Any:
        """The requests that were received and are not executed yet."""
        return self.request("reserved")

    def scheduled(self, safe: bool | None = None) -> Any:
        """The requests that wait for their ETA: `eta`, `priority`, `request`."""
        return self.request("scheduled")

    def registered(self, *taskinfoitems: str) -> Any:
        """The names of the registered tasks, with these attributes."""
        return self.request("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def revoked(self) -> Any:
        """The ids that are revoked."""
        return self.request("revoked")

    def active_queues(self) -> Any:
        """The queues that are consumed from, each with all that declares it."""
        return self.request("active_queues")

    def stats(self) -> Any:
        """Counters, and what the worker's steps tell."""
        return self.request("stats")

    def conf(self, with_defaults: bool = False) -> Any:
        """The settings, without secrets."""
        return self.request("conf", with_defaults=with_defaults)

    def query_task(self, *ids: Any) -> Any:
        """`{id: [where, request]}` of those of these tasks that are in a worker. Also `query_task([id, id])`."""
        several = list(ids[0]) if len(ids) == 1 and isinstance(ids[0], list | tuple) else list(ids)
        return self.request("query_task", ids=several)

    def clock(self) -> Any:
        """The logical clocks."""
        return self.request("clock")

    def report(self) -> Any:
        """Versions and settings as text."""
        return self.request("report")

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """What workers ask each other at their start: revoked ids and clock."""
        return self.request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """Sample the memory that workers take."""
        return self.request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """The samples so far."""
        return self.request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        """Draw what keeps objects alive, where the library objgraph is installed."""
        return self.request("objgraph", num=n, max_depth=max_depth, type=type)
