"""The queue to which one process's answers come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from threading import Condition
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from bootsteps.errors import KernelError
from bootsteps_tasks.backend import READY_STATES
from bootsteps_tasks.places import mask_url

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["Inbox"]

T = TypeVar("T")

WHERE = ("result backend rpc (bootsteps-result-rpc)",)
#: The queue outlives a broken connection so long, and then a process that ended without closing it.
KEPT_S = 300.0
#: How many answers are kept for those who have not asked for them yet.
REMEMBERED = 10_000
#: Seconds for which a broker that cannot be reached is tried again, and between two attempts.
DEADLINE_S, PAUSE_S = 15.0, 0.2
#: Whoever reads for all looks up so often, at least.
TURN_S = 1.0


class Inbox:
    """Receives answers and keeps them. Safe from any thread: one of those that wait reads for all."""

    def __init__(self, app: App, accept: Collection[str]) -> None:
        self._app = app
        self._accept = list(accept)
        #: The name of the queue, which is the `reply_to` of every task that is asked for here.
        self.name = str(uuid4())
        self._connection: Any = None
        #: What is beneath it: kombu would put another one there in silence, on which nobody consumes.
        self._line: Any = None
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._changed = Condition()
        self._read_by_somebody = False

    def open(self) -> None:
        """Declare the queue, once: before the first task is asked for. Raises `KernelError` without a broker."""
        self._reading(lambda: None, 0.0)

    def peek(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return what is known of these tasks, after a look into the queue."""
        self._reading(lambda: self._drain(0.01), 0.0)
        with self._changed:
            return {task_id: self._known[task_id] for task_id in ids if task_id in self._known}

    def wait(self, ids: Collection[str], timeout: float | None) -> dict[str, dict[str, Any]]:
        """Return the answers that are final, as soon as there is one; none after `timeout` seconds."""
        until = None if timeout is None else monotonic() + timeout
        while True:
            with self._changed:
                found = {task_id: self._known[task_id] for task_id in ids if self._is_final(task_id)}
            left = TURN_S if until is None else until - monotonic()
            if found or left <= 0 or not ids:
                return found
            turn = min(left, TURN_S)
            self._reading(lambda turn=turn: self._drain(turn), turn)  # type: ignore[misc]

    def _is_final(self, task_id: str) -> bool:
        return task_id in self._known and self._known[task_id]["status"] in READY_STATES

    def forget(self, task_id: str) -> None:
        """Drop the answer."""
        with self._changed:
            self._known.pop(task_id, None)

    def close(self) -> None:
        """Delete the queue and close the connection."""
        with suppress(Exception):  # the broker may be gone
            if self._connection is not None:
                self._connection.default_channel.queue_delete(self.name)
        self._hang_up()

    def _reading(self, read: Callable[[], Any], patience_s: float) -> None:
        """Read if nobody else does; else wait so long for what that one reads."""
        with self._changed:
            if self._read_by_somebody:
                self._changed.wait(patience_s)
                return
            self._read_by_somebody = True
        try:
            self._persistently(read)
        finally:
            with self._changed:
                self._read_by_somebody = False
                self._changed.notify_all()

    def _persistently(self, read: Callable[[], Any]) -> None:
        """Read by a connection that stands, made anew if it broke; the queue has kept what came meanwhile."""
        until = monotonic() + DEADLINE_S
        while True:
            try:
                self._connect()
                read()
                return
            except self._errors() as exc:
                self._hang_up()
                if monotonic() + PAUSE_S >= until:
                    what = f"answers cannot be read from the broker: {mask_url(str(exc))}"
                    raise KernelError(what, WHERE, "start the broker, or correct broker_url") from exc
                sleep(PAUSE_S)

    def _errors(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import OperationalError

        connection = self._connection
        broken = (
            (*connection.recoverable_connection_errors, *connection.recoverable_channel_errors) if connection else ()
        )
        return (OperationalError, ConnectionError, *broken)

    def _connect(self) -> None:
        from kombu import Consumer, Queue

        if self._connection is not None:
            if self._connection.transport.verify_connection(self._line):
                return
            self._hang_up()
        self._connection = self._app.connection()
        self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        channel = self._connection.default_channel
        self._line = self._connection.connection
        # A name of our own: nobody else declares this queue, so it need not be as Celery's.
        queue = Queue(self.name, exchange="", routing_key=self.name, durable=True, auto_delete=False, expires=KEPT_S)
        consumer = Consumer(channel, [queue], callbacks=[self._on_answer], accept=self._accept)
        consumer.consume()

    def _drain(self, turn_s: float) -> None:
        until = monotonic() + turn_s
        before = len(self._known)
        try:
            while len(self._known) == before and (left := until - monotonic()) > 0:
                self._connection.transport.drain_events(self._line, timeout=left)
            while True:  # what else is there
                self._connection.transport.drain_events(self._line, timeout=0.001)
        except TimeoutError:
            return

    def _on_answer(self, body: Any, message: Any) -> None:
        if isinstance(body, Mapping) and isinstance(body.get("task_id"), str) and "status" in body:
            with self._changed:
                if not self._is_final(body["task_id"]):
                    self._known[body["task_id"]] = {"result": None, **body, "children": body.get("children") or []}
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        message.ack()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        with suppress(Exception):  # it is broken already
            if connection is not None:
                connection.release()
