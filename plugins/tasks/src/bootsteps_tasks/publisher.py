"""One connection for publishing, and its lock: a process has one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock
from typing import Any, NamedTuple, TypeVar

from bootsteps_tasks.message import TaskMessage
from bootsteps_tasks.places import mask_url
from bootsteps_tasks.routing import Route

__all__ = ["Publisher", "Sent"]

T = TypeVar("T")

#: Seconds before each further attempt (wire reference 5: three of them, from 0 by 0.2 up to 1).
PAUSES = (0.0, 0.2, 0.4)


class Sent(NamedTuple):
    """A message and where it goes."""

    message: TaskMessage
    route: Route


class Publisher:
    """Publishes messages over one connection, which is made at the first one. Safe from any thread."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = RLock()
        self._connection: Any = None
        self._channel: Any = None
        self._declared: set[str] = set()

    def publish(self, sent: Sent) -> None:
        """Publish one message. Raises kombu's `OperationalError` when the broker stays away."""
        self._retrying(lambda: self._put(sent))

    def publish_many(self, batch: Sequence[Sent]) -> None:
        """Publish a batch: in one go if the transport can (`publish_many`), else one by one."""
        with self._lock:
            if not self._retrying(lambda: self._put_all(batch)):
                for sent in batch:
                    self.publish(sent)

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        with self._lock:
            connection, self._connection, self._channel = self._connection, None, None
            self._declared.clear()
            if connection is not None:
                connection.release()

    def _put(self, sent: Sent) -> bool:
        channel = self._open()
        self._declare(sent.route)
        channel.basic_publish(_prepare(channel, sent.message), sent.route.exchange, sent.route.routing_key)
        return True

    def _put_all(self, batch: Sequence[Sent]) -> bool:
        """Return False when the transport has no such way."""
        channel = self._open()
        publish_many = getattr(channel, "publish_many", None)
        if publish_many is None:
            return False
        for sent in batch:
            self._declare(sent.route)
        publish_many([(_prepare(channel, s.message), s.route.exchange, s.route.routing_key) for s in batch])
        return True

    def _open(self) -> Any:
        if self._channel is None:
            self._connection = self._connect()
            # Two tries at once; the pauses between further ones are ours.
            self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            self._channel = self._connection.channel()
        return self._channel

    def _declare(self, route: Route) -> None:
        if route.queue is not None and route.queue.name not in self._declared:
            route.queue.bind(self._channel).declare()
            self._declared.add(route.queue.name)

    def _retrying(self, publish: Callable[[], T]) -> T:
        with self._lock:
            for pause in PAUSES:
                try:
                    return publish()
                except self._errors():
                    self._drop()
                    time.sleep(pause)
            return self._last(publish)

    def _last(self, publish: Callable[[], T]) -> T:
        from kombu.exceptions import OperationalError

        try:
            return publish()
        except self._errors() as exc:
            self._drop()
            raise OperationalError(f"the broker cannot be reached: {mask_url(str(exc))}") from exc

    def _errors(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import OperationalError

        connection = self._connection
        if connection is None:
            return ()
        return (OperationalError, *connection.recoverable_connection_errors, *connection.recoverable_channel_errors)

    def _drop(self) -> None:
        with suppress(Exception):  # it is broken already
            self.close()


def _prepare(channel: Any, message: TaskMessage) -> Any:
    return channel.prepare_message(
        message.body,
        message.priority,
        message.content_type,
        message.content_encoding,
        message.headers,
        dict(message.properties),
    )
