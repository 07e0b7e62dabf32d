# mypy: disable-error-code="misc, no-untyped-call"
# kombu has no types.
"""The worker's mailbox: commands come in by a fanout exchange, replies go out by a direct one (wire reference 10)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kombu.exceptions import EncodeError
from kombu.pidbox import Mailbox, Node

__all__ = ["Answering", "mailbox", "node"]

log = logging.getLogger("consumer.Control")
#: Seconds that a reply may lie unread where the broker does not know by itself whether somebody waits for it.
UNREAD_S = 10.0
#: A reply is tried so often: without a limit kombu tries for ever, and the loop stands still.
REPLY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


class Handlers:
    """What kombu's node takes for its table of handlers: every name has one, which says so if it is unknown."""

    def __init__(self, run: Callable[[str, dict[str, Any]], Any]) -> None:
        self._run = run

    def __getitem__(self, method: str) -> Callable[..., Any]:
        return lambda state, **arguments: self._run(method, arguments)


class Answering(Node):
    """A node of the mailbox that nobody can hurt by what he sends."""

    def open(self) -> None:
        """Take commands from now on."""
        self.listen(callback=self.on_message)

    def reply(self, data: Any, exchange: str, routing_key: str, ticket: str, **kwargs: Any) -> None:
        box: Any = self.mailbox
        box._publish_reply(
            data, exchange, routing_key, ticket, channel=self.channel, serializer=box.serializer,
            retry_policy=REPLY_POLICY,
        )  # fmt: skip
        # Whoever asked may have been killed: nobody would ever read this, nor delete it.
        expire_queue = getattr(self.channel, "expire_queue", None)
        if expire_queue is not None:
            expire_queue(f"{routing_key}.{exchange}", UNREAD_S)

    def on_message(self, body: Any, message: Any) -> None:
        """Run what was sent, if it is for us, and reply if that is wanted. Raises what the broken connection raises."""
        try:
            self.handle_message(body, message)
        except (AttributeError, KeyError, TypeError, ValueError, EncodeError) as exc:
            log.error("a control message could not be handled: %s: %s", type(exc).__name__, exc)


def mailbox(
    connection: Any, namespace: str, accept: Any, serializer: str, ttl: float | None, expires: float | None, clock: Any
) -> Mailbox:
    """Return the mailbox with Celery's exchanges and queues; `clock` is set by what comes and told in replies."""
    return Mailbox(
        namespace,
        type="fanout",
        connection=connection,
        accept=list(accept),
        serializer=serializer,
        queue_ttl=ttl,
        queue_expires=expires,
        reply_queue_ttl=ttl,
        reply_queue_expires=expires,
        clock=clock,
    )


def node(box: Mailbox, hostname: str, channel: Any, run: Callable[[str, dict[str, Any]], Any]) -> Answering:
    """Return this worker's node; `run(name, arguments)` runs a command and returns its reply."""
    return Answering(hostname, None, channel, Handlers(run), mailbox=box)
