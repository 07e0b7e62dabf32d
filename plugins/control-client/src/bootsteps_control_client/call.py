# mypy: disable-error-code="misc, no-untyped-call"
# kombu has no types.
"""One call: a command that goes out and the answers that come back (wire reference 10)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from kombu import Consumer, Exchange, Queue

from bootsteps_control_client.audience import Audience, addressed
from bootsteps_control_client.line import Line

__all__ = ["Answer", "Call", "Mailboxes"]

log = logging.getLogger("control")

#: What one or more nodes answered: node name to reply.
Answer = dict[str, Any]


@dataclass(frozen=True)
class Mailboxes:
    """The exchanges and queues of remote control, with Celery's names and properties."""

    namespace: str
    serializer: str
    accept: Sequence[str]
    #: Of a reply queue that nobody uses, and of a reply that nobody reads; seconds.
    queue_expires: float | None
    message_ttl: float | None

    @property
    def commands(self) -> Exchange:
        """Where commands go to."""
        return Exchange(f"{self.namespace}.pidbox", "fanout", durable=False, delivery_mode="transient")

    @property
    def replies(self) -> Exchange:
        """Where answers go to."""
        return Exchange(f"reply.{self.namespace}.pidbox", "direct", durable=False, delivery_mode="transient")

    def reply_queue(self, key: str) -> Queue:
        """The queue of one call."""
        return Queue(
            f"{key}.{self.replies.name}", self.replies, routing_key=key, durable=False, exclusive=True,
            auto_delete=True, expires=self.queue_expires, message_ttl=self.message_ttl,
        )  # fmt: skip

    def nodes(self, queues: Sequence[str]) -> list[str]:
        """Return the node names of workers' mailboxes."""
        end = f".{self.namespace}.pidbox"
        return [queue.removesuffix(end) for queue in queues if queue.endswith(end)]


@dataclass
class Call:
    """A command to some or all nodes."""

    boxes: Mailboxes
    clock: Any
    command: str
    arguments: Mapping[str, Any]
    destination: Sequence[str] | None = None
    pattern: str | None = None
    matcher: str | None = None
    timeout: float | None = 1.0
    limit: int | None = None
    callback: Callable[[Answer], object] | None = None
    #: Nodes that answered this client before.
    known: Collection[str] = ()
    ticket: str = field(default="", init=False)

    def cast(self, line: Line) -> None:
        """Send it and wait for nothing."""
        self._publish(line, {})

    def open(self, line: Line) -> Queue:
        """Declare the queue of its answers: each call has its own, so that no late answer comes to another."""
        self.ticket = str(uuid4())  # also of a second attempt
        line.declare(self.boxes.commands)
        queue = self.boxes.reply_queue(self.ticket)(line.channel)
        queue.declare()
        return queue

    def ask(self, line: Line, queue: Queue) -> list[Answer]:
        """Send it and return the answers, as they came."""
        answers: list[Answer] = []
        consumer = Consumer(
            line.channel, [queue], no_ack=True, accept=list(self.boxes.accept), auto_declare=False,
            callbacks=[lambda body, message: self._take(body, message, answers)], on_decode_error=_unreadable,
        )  # fmt: skip
        try:
            with consumer:
                reply_to = {"exchange": self.boxes.replies.name, "routing_key": self.ticket}
                reached = self._publish(line, {"ticket": self.ticket, "reply_to": reply_to})
                self._collect(line, self._audience(line, reached), answers)
        finally:
            line.channel.queue_delete(queue.name)
        return answers

    def _publish(self, line: Line, reply: Mapping[str, Any]) -> Any:
        message = {
            "method": self.command,
            "arguments": dict(self.arguments),
            "destination": None if self.destination is None else list(self.destination),
            "pattern": self.pattern,
            "matcher": self.matcher,
            **reply,
        }
        headers = {"clock": self.clock.forward(), "expires": time.time() + self.timeout if self.timeout else 0}
        return line.publish(message, self.boxes.commands, headers, self.boxes.serializer)

    def _audience(self, line: Line, reached: int | None) -> Audience:
        limit = self.limit or (len(set(self.destination)) if self.destination else None)
        chosen = self.destination, self.pattern, self.matcher
        everybody = not self.destination and not (self.pattern and self.matcher)
        if reached == 0 or (reached and everybody):
            return Audience(self.timeout, limit, reached)
        bound = line.bound(self.boxes.commands)
        names = self.boxes.nodes(bound or [])
        if reached is not None and reached == len(names):
            return Audience(self.timeout, limit, len(addressed(names, *chosen)))
        if bound is not None and not addressed(names, *chosen):
            return Audience(self.timeout, limit, 0)
        known = addressed({*names, *self.known}, *chosen)
        return Audience(self.timeout, limit, known=known)

    def _collect(self, line: Line, audience: Audience, answers: list[Answer]) -> None:
        heard = 0  # some may have come while the command was being published
        while True:
            for answer in answers[heard:]:
                audience.heard(answer)
            heard = len(answers)
            patience = audience.patience()
            if patience == 0:
                return
            with suppress(TimeoutError):
                line.connection.drain_events(timeout=patience)

    def _take(self, body: Any, message: Any, answers: list[Answer]) -> None:
        self.clock.adjust(message.headers.get("clock") or 0)
        if message.headers.get("ticket", self.ticket) != self.ticket or not isinstance(body, dict):
            return
        if self.limit and len(answers) >= self.limit:
            return  # several came at one time
        answers.append(body)
        if self.callback is not None:
            self.callback(body)


def _unreadable(message: Any, exc: Exception) -> None:
    log.error("an answer cannot be read: %s", exc)
