"""What to do with a task message, decided by its headers: run it, hold it, or settle it unrun."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bootsteps import Hooks, Timer
from bootsteps_consumer_tasks.delivery import Delivery, Line
from bootsteps_consumer_tasks.envelope import Envelope
from bootsteps_consumer_tasks.ledger import Ledger, Request
from bootsteps_consumer_tasks.limits import NO_LIMITS, Limits
from bootsteps_consumer_tasks.settlement import Settlement
from bootsteps_tasks.errors import NotRegistered, TaskRevokedError
from bootsteps_tasks.message import InvalidMessage, TaskHeaders, parse_headers

if TYPE_CHECKING:
    from bootsteps_tasks import App, Task

__all__ = ["Intake"]

log = logging.getLogger("consumer.Tasks")
#: Among calls due at one moment, tasks come after what the worker itself has to do (Celery's number).
ETA_PRIORITY = 6


class Intake:
    """Takes the messages of one connection. Loop thread only."""

    def __init__(
        self,
        app: App,
        hostname: str,
        ledger: Ledger,
        settlement: Settlement,
        timer: Timer,
        hooks: Hooks,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._app = app
        self._hostname = hostname
        self._ledger = ledger
        self._settlement = settlement
        self._timer = timer
        self._hooks = hooks
        self._limits = limits
        self._line = Line()
        self._closed = False
        #: Task name to the function that takes a message of that task.
        self.strategies: Mapping[str, Callable[[Any], None]] = {
            name: self._strategy(task) for name, task in app.tasks.items()
        }

    def close(self) -> int:
        """Take no more messages and give back what the pool does not have; return how many that were."""
        self._closed = True
        return sum(request.delivery.give_back() for request in reversed(self._ledger.unstarted()))

    def interrupt(self) -> int:
        """Give back everything that can be run again, also what runs now; return how many that were."""
        unstarted = self.close()
        return unstarted + sum(request.delivery.requeue() for request in reversed(self._ledger.unsettled()))

    def hang_up(self) -> None:
        """The connection is no more: what came by it cannot be settled, and what was not started is forgotten."""
        self._line.up = False
        self._ledger.lose(self._line)

    def on_message(self, message: Any) -> None:
        """Take one message as it came; nothing in it can hurt the worker."""
        if self._closed:
            Delivery(message, self._line).give_back()
            return
        headers = message.headers
        name = headers.get("task") if isinstance(headers, Mapping) else None
        if not isinstance(name, str):
            self._refuse(message, "it names no task")
            return
        try:
            self.strategies.get(name, self._unknown)(message)
        except InvalidMessage as exc:
            self._refuse(message, str(exc))

    def _strategy(self, task: Task[..., Any]) -> Callable[[Any], None]:
        """Return the function that takes a message of this task; what is the same for all of them is decided here."""
        late = task.acks_late
        limits = self._limits.under((task.time_limit, task.soft_time_limit))

        def take(message: Any) -> None:
            headers = parse_headers(message.headers, message.properties, message.delivery_info)
            delivery = Delivery(message, self._line)
            if self._was_here(headers, delivery) or self._has_expired(headers, delivery):
                return
            payload = Envelope.of(message, self._hostname).pack()
            request = Request(self._ledger.number(), headers, payload, delivery, late, limits.under(headers.timelimit))
            self._announce(headers)
            self._line_up(request)

        return take

    def _was_here(self, headers: TaskHeaders, delivery: Delivery) -> bool:
        """Recognise a message that came before, by a connection that broke: the task runs, or was finished."""
        if not delivery.redelivered:
            return False
        if self._ledger.was_finished(headers.id):
            log.info("Task %s[%s] was finished before its connection broke; acknowledged now", headers.name, headers.id)
            return delivery.ack()
        return self._ledger.adopt(headers.id, delivery)

    def _has_expired(self, headers: TaskHeaders, delivery: Delivery) -> bool:
        if headers.expires is None or headers.expires > datetime.now(UTC):
            return False
        log.info("Task %s[%s] expired at %s", headers.name, headers.id, headers.expires)
        self._settlement.store_failure(headers.id, TaskRevokedError("expired"), "REVOKED")
        return delivery.ack()

    def _line_up(self, request: Request) -> None:
        eta = request.headers.eta
        wait = (eta - datetime.now(UTC)).total_seconds() if eta else 0.0
        if wait <= 0:
            self._ledger.reserve(request)
            return
        entry = self._timer.call_after(wait, self._ledger.reserve, (request,), priority=ETA_PRIORITY)
        self._ledger.hold(request, entry.cancel)

    def _announce(self, headers: TaskHeaders) -> None:
        log.info("Task %s[%s] received", headers.name, headers.id)
        if self._hooks.listeners("task_received"):
            self._hooks.announce("task_received", id=headers.id, name=headers.name)

    def _unknown(self, message: Any) -> None:
        """A task that is not registered here: its caller gets to know."""
        headers = parse_headers(message.headers, message.properties, message.delivery_info)
        log.error("Task %s[%s] is not registered in this worker; it is refused", headers.name, headers.id)
        self._settlement.store_failure(headers.id, NotRegistered(headers.name))
        Delivery(message, self._line).reject()

    def _refuse(self, message: Any, reason: str) -> None:
        log.error("message refused: %s (content type %s, %s)", reason, message.content_type, message.delivery_info)
        Delivery(message, self._line).reject()
