# mypy: disable-error-code="misc, no-untyped-call"
# kombu has no types.
"""Beat answers `inspect ping`, so that its health can be checked as a worker's."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from typing import Any

__all__ = ["Mailbox", "node_name"]

log = logging.getLogger("beat")
#: After the connection broke, or could not be made, seconds until the next attempt.
PAUSE_S = 5.0


def node_name(given: str | None) -> str:
    """Return `celerybeat@host`, or what was given: `%h` is the host, `%n` its first label, `%d` the rest."""
    host = socket.gethostname()
    label, _, domain = host.partition(".")
    name = given or "celerybeat@%h"
    for letter, value in (("%h", host), ("%n", label), ("%d", domain)):
        name = name.replace(letter, value)
    return name if "@" in name else f"celerybeat@{name}"


class Mailbox:
    """Listens in the thread in which beat ticks: one that does not tick does not answer."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._app, self._hostname = app, hostname
        self._connection: Any = None
        self._again = 0.0

    def wait(self, seconds: float) -> None:
        """Take commands for so long, and answer them."""
        ends = time.monotonic() + seconds
        try:
            if self._connection is None and time.monotonic() >= self._again:
                self._open()
            if self._connection is not None:
                self._connection.drain_events(timeout=max(0.0, ends - time.monotonic()))
                return
        except TimeoutError:
            return
        except Exception as exc:
            log.warning("remote control: %s: %s; trying again in %g s", type(exc).__name__, exc, PAUSE_S)
            self.close()
            self._again = time.monotonic() + PAUSE_S
        time.sleep(max(0.0, ends - time.monotonic()))

    def _open(self) -> None:
        from kombu import pidbox

        conf = self._app.conf
        self._connection = connection = self._app.connection()
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        box = pidbox.Mailbox(
            conf["control_exchange"], type="fanout", connection=connection, accept=list(conf["accept_content"]),
            serializer=conf["task_serializer"], clock=self._app.clock, queue_expires=10.0, reply_queue_expires=10.0,
        )  # fmt: skip
        node = pidbox.Node(self._hostname, None, connection.channel(), {"ping": _ping}, mailbox=box)
        node.listen(callback=lambda body, message: _take(node, body, message))
        log.info("beat answers ping as %s", self._hostname)

    def close(self) -> None:
        """Close without waiting for a peer that may be gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.collect()


def _take(node: Any, body: Any, message: Any) -> None:
    """Let the node answer ping; what else is sent is meant for workers."""
    if isinstance(body, dict) and body.get("method") == "ping":
        try:
            node.handle_message(body, message)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            log.error("a control message could not be handled: %s: %s", type(exc).__name__, exc)


def _ping(state: Any, **arguments: Any) -> dict[str, str]:
    return {"ok": "pong"}
