"""One connection for publishing, and its lock: a process has one."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import RLock
from typing import Any, NamedTuple, TypeVar

from bootsteps_tasks.encoding import TaskMessage
from bootsteps_tasks.places import mask_url
from bootsteps_tasks.routing import Route

__all__ = ["PAUSES", "Publisher", "Sent", "pauses"]

T = TypeVar("T")

#: Seconds before each further attempt (wire reference 5: three of them, from 0 by 0.2 up to 1).
PAUSES = (0.0, 0.2, 0.4)

#: So many of them are made at once.
FEW = 100

#: Seconds that a closing connection, also at the end of its process, waits for a broker to take what was published.
FAREWELL_S = 10.0
#: Seconds for a broken one.
DROP_S = 1.0


def pauses(policy: Mapping[str, Any]) -> Sequence[float]:
    """Return the pauses that Celery's retry policy means; for ever with `max_retries` None means a million times."""
    start, step = policy.get("interval_start", 0.0), policy.get("interval_step", 0.2)
    longest, most = policy.get("interval_max", 1.0), policy.get("max_retries", 3)
    found = _Pauses(start, step, longest, 1_000_000 if most is None else most)
    return found if len(found) > FEW else tuple(found)


class _Pauses(Sequence[float]):
    def __init__(self, start: float, step: float, longest: float, most: int) -> None:
        self._start, self._step, self._longest, self._most = start, step, longest, most

    def __len__(self) -> int:
        return self._most

    def __getitem__(self, index: Any) -> Any:
        if index >= self._most:
            raise IndexError(index)
        return min(self._longest, self._start + index * self._step)


class Sent(NamedTuple):
    """A message and where it goes."""

    message: TaskMessage
    route: Route
    #: Seconds before each further attempt to publish it.
    pauses: Sequence[float] = PAUSES
    #: It counts among the children of the task that publishes it.
    child: bool = True
    #: Monitors are told of it.
    event: bool = False


class Publisher:
    """Publishes messages over one connection, which is made at the first one. Safe from any thread."""

    def __init__(self, connect: Callable[[], Any], horizon_s: Callable[[], float] = lambda: math.inf) -> None:
        """`horizon_s()`: with an ETA farther away messages wait in the broker, if its transport can do that."""
        self._connect = connect
        self._horizon_s = horizon_s
        self._lock = RLock()
        self._connection: Any = None
        self._channel: Any = None
        self._declared: set[str] = set()

    def publish(self, sent: Sent) -> None:
        """Publish one message. Raises kombu's `OperationalError` when the broker stays away."""
        self._retrying(lambda: self._put(sent), sent.pauses)

    def publish_many(self, batch: Sequence[Sent], answers: bool = False) -> None:
        """Publish a batch: in one go if the transport can (`publish_many`), else one by one.

        For `answers` nobody waits, and it is no error that who asked is gone (`post_many`, if the transport has that).
        """
        with self._lock:
            if batch and not self._retrying(lambda: self._put_all(batch, answers), batch[0].pauses):
                for sent in batch:
                    self.publish(sent)

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        with self._lock:
            if self._connection is not None:
                _say_goodbye(self._connection, os.getpid())
                self._drop()

    def _drop(self) -> None:
        """Let go of the connection without a word: if it is broken, nobody might answer."""
        connection, self._connection, self._channel = self._connection, None, None
        self._declared.clear()
        if connection is not None:
            self._farewell.detach()
            with suppress(Exception):  # it may be closed already
                connection.collect(socket_timeout=DROP_S)

    def _put(self, sent: Sent) -> bool:
        channel = self._open()
        self._declare(sent.route)
        if not self._put_later(channel, (sent,)):
            channel.basic_publish(_prepare(channel, sent.message), sent.route.exchange, sent.route.routing_key)
        return True

    def _put_all(self, batch: Sequence[Sent], answers: bool) -> bool:
        """Return False when the transport has no such way."""
        channel = self._open()
        publish_many = (answers and getattr(channel, "post_many", None)) or getattr(channel, "publish_many", None)
        if publish_many is None:
            return False
        for sent in batch:
            self._declare(sent.route)
        later = set() if answers else self._put_later(channel, batch)
        batch = [sent for sent in batch if sent.message.headers["id"] not in later] if later else batch
        publish_many([(_prepare(channel, s.message), s.route.exchange, s.route.routing_key) for s in batch])
        return True

    def _put_later(self, channel: Any, batch: Sequence[Sent]) -> set[str]:
        """Let messages that are due beyond the horizon wait in the broker; return their ids, none if it cannot."""
        dated = [sent for sent in batch if sent.message.headers.get("eta") is not None]
        publish_later = getattr(channel, "publish_later", None) if dated else None
        if publish_later is None:
            return set()
        found = [(sent, until) for sent in dated if (until := self._until(sent)) is not None]
        far = [(_prepare(channel, sent.message), sent.route.routing_key, until) for sent, until in found]
        return {sent.message.headers["id"] for sent, _ in found} if far and publish_later(far) else set()

    def _until(self, sent: Sent) -> float | None:
        """Return when a message is to come to its queue (since the epoch), None if now."""
        if sent.route.exchange:
            return None
        eta = sent.message.headers["eta"]
        due, horizon = datetime.fromisoformat(eta).astimezone().timestamp(), self._horizon_s()
        # As a worker does with one from further away: clocks differ, and it must not be sent back and forth.
        return due - 0.8 * horizon if due - time.time() > horizon else None

    def _open(self) -> Any:
        if self._channel is None:
            self._connection = connection = self._connect()
            self._farewell = weakref.finalize(self, _say_goodbye, connection, os.getpid())
            # Two tries at once; the pauses between further ones are ours.
            self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            self._channel = self._connection.channel()
        return self._channel

    def _declare(self, route: Route) -> None:
        if route.queue is not None and route.queue.name not in self._declared:
            route.queue.bind(self._channel).declare()
            self._declared.add(route.queue.name)

    def _retrying(self, publish: Callable[[], T], pauses: Sequence[float]) -> T:
        with self._lock:
            for pause in pauses:
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


def _say_goodbye(connection: Any, pid: int) -> None:
    """Close a connection, at the latest when its process ends, and wait a while until the broker says that it has.

    What it has not read by then would be lost if there was anything from it that we had not read.
    """
    if pid != os.getpid() or not connection.connected:  # a forked process has no say on its parent's
        return
    with suppress(Exception):
        sock = getattr(connection.connection, "sock", None)
        if sock is not None:
            sock.settimeout(FAREWELL_S)
        connection.release()


def _prepare(channel: Any, message: TaskMessage) -> Any:
    return channel.prepare_message(
        message.body,
        message.priority,
        message.content_type,
        message.content_encoding,
        message.headers,
        dict(message.properties),
    )
