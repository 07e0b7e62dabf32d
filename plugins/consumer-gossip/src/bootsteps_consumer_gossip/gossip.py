"""What a worker knows of the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bootsteps_consumer_gossip.elections import Candidate, Elections

if TYPE_CHECKING:
    from bootsteps_consumer_events import Dispatcher
    from bootsteps_tasks import App

__all__ = ["Gossip", "Nodes"]

log = logging.getLogger("consumer.Gossip")
#: The version of the election's messages.
CVER = 1


@dataclass
class Nodes:
    """Functions that are called with the `Worker` which came, went, or was not heard of for too long."""

    node_join: set[Callable[[Any], object]] = field(default_factory=set)
    node_leave: set[Callable[[Any], object]] = field(default_factory=set)
    node_lost: set[Callable[[Any], object]] = field(default_factory=set)


class Gossip:
    """The other workers, as their events tell. Loop thread only; made anew with each connection.

    `on.node_join.add(fun)` has a function called with each worker that comes; `state.workers` are those that are there.
    `election_handlers[topic]` is called with the action of an election that this worker won.
    """

    def __init__(self, app: App, hostname: str, dispatcher: Dispatcher) -> None:
        self.app = app
        self.hostname = hostname
        self.full_hostname = f"{hostname}.{os.getpid()}"
        self.clock = app.clock
        self.dispatcher = dispatcher
        self.on = Nodes()
        self.state = app.events.State(
            on_node_join=lambda worker: self._tell("node_join", worker),
            on_node_leave=lambda worker: self._tell("node_leave", worker),
            max_tasks_in_memory=1,
        )
        self.election_handlers: dict[str, Callable[[Any], object]] = {"task": self.call_task}
        self.event_handlers: dict[str, Callable[[dict[str, Any]], object]] = {
            "worker-elect": self._on_elect,
            "worker-elect-ack": lambda event: None,
        }
        self._elections = Elections(self._expected, self._decided)

    def election(self, id: str, topic: str, action: Any = None) -> None:
        """Stand in an election; the other workers do, too, if they were told of it."""
        self.dispatcher.send("worker-elect", id=id, topic=topic, action=action, cver=CVER)

    def call_task(self, task: Any) -> None:
        """Apply a signature: what the winner of topic `task` does."""
        try:
            self.app.signature(task).apply_async()
        except Exception:
            log.exception("the task of an election could not be sent: %r", task)

    def on_event(self, event: dict[str, Any], own: bool) -> None:
        """Take an event of a worker into account; it has been through `Receiver.event_from_message`."""
        handler = self.event_handlers.get(event["type"])
        if handler is not None:
            handler(event)
        elif not own:
            self.state.event(event)

    def look(self) -> None:
        """Forget workers whose heartbeat is overdue, and end elections that wait for them."""
        for worker in [worker for worker in self.state.workers.values() if not worker.alive]:
            log.info("missed the heartbeat of %s", worker.hostname)
            del self.state.workers[worker.hostname]
            self._tell("node_lost", worker)
        self._elections.look()

    @property
    def waits(self) -> bool:
        """Tell whether an election is undecided."""
        return len(self._elections) > 0

    def _on_elect(self, event: dict[str, Any]) -> None:
        name = f"{event['hostname']}.{event['pid']}"
        self.dispatcher.send("worker-elect-ack", id=event["id"])  # Celery's workers count these
        self._elections.stands(event["id"], Candidate(event["clock"], name, event["topic"], event.get("action")))

    def _expected(self) -> Iterator[str]:
        yield self.full_hostname
        yield from (f"{worker.hostname}.{worker.pid}" for worker in self.state.alive_workers())

    def _decided(self, id: str, winner: Candidate) -> None:
        if winner.name != self.full_hostname:
            log.info("%s was elected for %s", winner.name, id)
            return
        log.info("this worker was elected for %s", id)
        handler = self.election_handlers.get(winner.topic)
        if handler is None:
            log.error("an election was won whose topic %r nobody here handles", winner.topic)
            return
        handler(winner.action)

    def _tell(self, what: str, worker: Any) -> None:
        if what != "node_lost":
            log.info("%s %s", worker.hostname, "joined" if what == "node_join" else "left")
        for callback in list(getattr(self.on, what)):
            try:
                callback(worker)
            except Exception:
                log.exception("%r, called since a worker %s, failed", callback, what.removeprefix("node_"))
