"""What to do with a task message, decided by its headers: run it, hold it, or settle it unrun."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from bootsteps import Hooks, Timer
from bootsteps_consumer_tasks.delivery import Delivery, Line
from bootsteps_consumer_tasks.envelope import pack
from bootsteps_consumer_tasks.guard import UNKNOWN, Guard, count_in
from bootsteps_consumer_tasks.ledger import Ledger, Request
from bootsteps_consumer_tasks.legacy import modern
from bootsteps_consumer_tasks.limits import NO_LIMITS, Limits, unkept
from bootsteps_consumer_tasks.lines import Lines
from bootsteps_consumer_tasks.rates import Buckets
from bootsteps_consumer_tasks.request import Watch, named, watcher_of
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_consumer_tasks.settlement import Settlement
from bootsteps_tasks.errors import NotRegistered, WorkerLostError
from bootsteps_tasks.message import InvalidMessage, TaskHeaders, parse_headers, parse_plain

if TYPE_CHECKING:
    from bootsteps_tasks import App, Task

__all__ = ["Intake"]

log = logging.getLogger("consumer.Tasks")
#: Among calls due at one moment, tasks come after what the worker itself has to do (Celery's number).
ETA_PRIORITY = 6


class Take(Protocol):
    """Takes a message."""

    def __call__(self, message: Any, headers: TaskHeaders | None = None) -> None:
        """`headers` are what `parse_headers` would find, where somebody knows that by now."""


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
        guard: Guard,
        revoked: Revoked,
        buckets: Buckets,
        limits: Limits = NO_LIMITS,
        unknown_delays: Sequence[float] = (),
        capabilities: Iterable[str] = ("hard_limit", "soft_limit"),
        horizon_s: float = 60.0,
        consumer: Any = None,
    ) -> None:
        from bootsteps_tasks.sender import zone_of

        self._app = app
        self._hostname = hostname
        self._ledger = ledger
        self._settlement = settlement
        self._timer = timer
        self._hooks = hooks
        self._guard = guard
        self._revoked = revoked
        self._buckets = buckets
        self._limits = limits
        self._unknown_delays = unknown_delays
        self._capabilities = frozenset(capabilities)
        self._horizon_s = horizon_s
        self._consumer = consumer
        self._line = Line()
        self._closed = False
        self._accept = frozenset(app.conf.accept_content)
        self._zone = zone_of(app.conf)
        #: That tasks were received.
        self.lines = Lines(log)
        guard.take = self.on_message
        #: Task name to the function that takes a message of that task.
        self.strategies: dict[str, Callable[[Any], None]] = {}
        #: Those of them that are ours, and also take what the message was found to say.
        self._usual: dict[str, Take] = {}
        self.update_strategies()

    def update_strategies(self) -> None:
        """Make the functions anew, for the tasks that are registered now."""
        self._usual = {name: self._strategy(task) for name, task in self._app.tasks.items()}
        self.strategies.clear()
        self.strategies.update((name, self._chosen(task)) for name, task in self._app.tasks.items())

    def close(self) -> int:
        """Take no more messages and give back what the pool does not have; return how many that were."""
        self._closed = True
        self.flush()
        return sum(request.delivery.give_back() for request in reversed(self._ledger.unstarted()))

    def flush(self) -> None:
        """End a turn: say what was received, before anything else is said of it, and publish anew what needs it."""
        self.lines.flush()
        self._guard.flush()

    def interrupt(self) -> tuple[int, int]:
        """Give back all that can be run again, also what runs now; tell how many had not started, and how many had."""
        unstarted = self.close()
        unsettled = self._ledger.unsettled()
        given_back = [request for request in reversed(unsettled) if request.delivery.requeue()]
        for request in unsettled:
            if not request.acks_late and request.then is None:
                self._settlement.interrupted(request)
        if self._hooks.listeners("task_cancelled"):
            for request in given_back:
                self._hooks.announce("task_cancelled", request=request.headers)
        return unstarted, len(given_back)

    def hang_up(self) -> None:
        """The connection is no more: what came by it cannot be settled, and what was not started is forgotten."""
        self._line.up = False
        self._ledger.lose(self._line)

    def on_message(self, message: Any) -> None:
        """Take one message as it came; nothing in it can hurt the worker."""
        if self._closed:
            Delivery(message, self._line).give_back()
            return
        undecoded = getattr(message, "undecoded", None)
        found = None if undecoded is None else parse_plain(undecoded[1], undecoded[2])
        if found is not None:
            usual = self._usual.get(found.name)
            if usual is not None and self.strategies.get(found.name) is usual:
                found.routing_key = message.delivery_info.get("routing_key") or ""  # nobody else has it yet
                usual(message, found)
                return
        headers = message.headers
        name = headers.get("task") if type(headers) is dict or isinstance(headers, Mapping) else None
        try:
            if name is None:
                message = modern(message, self._accept, self._zone)
                name = message.headers["task"]
            if not isinstance(name, str):
                raise InvalidMessage("it names no task")
            if name not in self._usual and name in self._app.tasks:
                self.update_strategies()  # it was registered since: in a shell, in a test
            take = self.strategies.get(name) or self._unknown
            take(message)
        except InvalidMessage as exc:
            self._refuse(message, exc)

    def _chosen(self, task: Task[..., Any]) -> Callable[[Any], None]:
        """Return the function that takes a message of this task, as the task's own strategy makes it if it has one."""
        usual, own = self._usual[task.name], named(task, "Strategy")
        if own is None:
            return usual
        made: Callable[[Any], None] = own(task, self._app, self._consumer, default=usual)
        return made

    def _watching(self, task: Task[..., Any]) -> Callable[..., Request]:
        """Return what makes the requests of a task: with somebody who looks on, if the task names a class for that."""
        watcher = watcher_of(task)
        if watcher is None:
            return Request
        if self._settlement.starts is not None:
            self._settlement.starts.watched = True

        def make(seq: int, headers: TaskHeaders, payload: bytes, delivery: Delivery, *rest: Any) -> Request:
            request = Request(seq, headers, payload, delivery, *rest)
            request.watch = Watch(watcher(task, headers, delivery.info, self._hostname))
            return request

        return make

    def _strategy(self, task: Task[..., Any]) -> Take:
        """Return the function that takes a message of this task; what is the same for all of them is decided here."""
        late, make = task.acks_late, self._watching(task)
        hostname, number = self._hostname, self._ledger.number

        def take(message: Any, headers: TaskHeaders | None = None) -> None:
            if headers is None:
                headers = parse_headers(message.headers, message.properties, message.delivery_info)
            delivery = Delivery(message, self._line)
            if self._is_over(headers, delivery, late) or self._is_far(headers, delivery):
                return
            limits = self._limits
            # The task's own limits may have been changed by remote control.
            if task.time_limit is not None or task.soft_time_limit is not None:
                limits = limits.under((task.time_limit, task.soft_time_limit))
            if headers.timelimit != NO_LIMITS:
                limits = limits.under(headers.timelimit)
                if missed := unkept(limits, self._capabilities):
                    log.warning("Task %s[%s] asks for %s; this pool cannot keep it", headers.name, headers.id, missed)
            request = make(number(), headers, pack(message, hostname), delivery, late, limits)
            self._announce(headers)
            self._line_up(request)

        return take

    def _was_here(self, headers: TaskHeaders, delivery: Delivery) -> bool:
        """Recognise a message that came before, by a connection that broke: the task runs, or was finished."""
        if self._ledger.was_finished(headers.id):
            log.info("Task %s[%s] was finished before its connection broke; acknowledged now", headers.name, headers.id)
            return delivery.ack()
        return self._ledger.adopt(headers.id, delivery)

    def _is_over(self, headers: TaskHeaders, delivery: Delivery, late: bool) -> bool:
        """Settle what is not to be run, for whatever reason."""
        if headers.redelivered and self._was_here(headers, delivery):
            return True
        if headers.expires is not None and headers.expires <= datetime.now(UTC):
            self._settlement.revoke(headers, delivery, "expired")
            return True
        if self._revoked and self._revoked.covers(headers.id, delivery.headers):
            self._settlement.revoke(headers, delivery, "revoked")
            return True
        return late and headers.redelivered and self._is_poison(headers, delivery)

    def _is_poison(self, headers: TaskHeaders, delivery: Delivery) -> bool:
        """Count a delivery that nobody here knows of; True when this message is not the one that runs."""
        if self._ledger.was_unstarted(headers.id):
            return False
        reason = self._guard.turned_up_again(headers, delivery)
        if reason:
            self._settlement.give_up(
                headers, delivery, WorkerLostError(reason), reason, self._guard.redelivered_limit + 1
            )
        return reason is not None

    def _is_far(self, headers: TaskHeaders, delivery: Delivery) -> bool:
        """Let the broker keep a task whose ETA is beyond the horizon, if it can: it takes no place here then."""
        if headers.eta is None or (headers.eta - datetime.now(UTC)).total_seconds() <= self._horizon_s:
            return False
        # Some time after it comes into sight: clocks differ, and it must not be sent back and forth.
        if not delivery.defer(headers.eta.timestamp() - 0.8 * self._horizon_s):
            return False
        log.info("Task %s[%s] waits in the broker for its ETA, %s", headers.name, headers.id, headers.eta.isoformat())
        return True

    def _line_up(self, request: Request) -> None:
        eta = request.headers.eta
        wait = 0.0 if eta is None else (eta - datetime.now(UTC)).total_seconds()
        if wait <= 0:
            self.apply_eta_task(request)
            return
        entry = self._timer.call_after(wait, self.apply_eta_task, (request,), priority=ETA_PRIORITY)
        self._ledger.hold(request, entry.cancel)

    def apply_eta_task(self, request: Request) -> None:
        """Let a request run as soon as its rate limit and the pool have room: its ETA, if any, has come."""
        bucket = self._buckets[request.headers.name]
        if bucket is None:
            self._ledger.reserve(request)
            return
        bucket.add(request)
        self._ledger.limit(request, partial(bucket.discard, request.seq))

    def _announce(self, headers: TaskHeaders) -> None:
        if self._ledger.was_returned(headers.id):
            return
        self.lines.add("Task %s[%s] received", headers.name, headers.id)
        if self._hooks.listeners("task_received"):
            self._hooks.announce("task_received", name=headers.name, id=headers.id, request=headers)

    def _unknown(self, message: Any) -> None:
        """A task that is not registered here: somebody else may know it, now or after a deploy. It waits and goes back.

        After the last delay it is parked, and its caller gets to know.
        """
        headers = parse_headers(message.headers, message.properties, message.delivery_info)
        delivery, error = Delivery(message, self._line), NotRegistered(headers.name)
        if self._revoked and self._revoked.covers(headers.id, delivery.headers):
            self._settlement.revoke(headers, delivery, "revoked")
            return
        count = count_in(delivery.headers, UNKNOWN)
        name = f"{headers.name}[{headers.id}]"
        if self._hooks.listeners("task_unknown"):
            self._hooks.announce("task_unknown", name=headers.name, id=headers.id, message=message, error=error)
        if count >= len(self._unknown_delays):
            log.error("Task %s is not registered in this worker, nor in others that it met; it is refused", name)
            reason = f"no worker knows the task {headers.name!r}"
            self._settlement.give_up(headers, delivery, error, reason, count + 1)
            return
        wait = self._unknown_delays[count]
        log.warning("Task %s is not registered in this worker; it goes back to the queue in %g s", name, wait)
        request = Request(self._ledger.number(), headers, b"", delivery, True, NO_LIMITS, known=False)
        entry = self._timer.call_after(wait, self._pass_on, (request, count + 1))
        self._ledger.hold(request, entry.cancel)

    def _pass_on(self, request: Request, count: int) -> None:
        """Publish an unknown task again, for somebody who knows it."""
        if self._ledger.settle(request.seq) is not None and request.delivery.up:
            self._guard.again(request.headers, request.delivery, {UNKNOWN: count})

    def _refuse(self, message: Any, error: InvalidMessage) -> None:
        log.error("message refused: %s (content type %s, %s)", error, message.content_type, message.delivery_info)
        Delivery(message, self._line).reject()
        if self._hooks.listeners("task_rejected"):
            self._hooks.announce("task_rejected", message=message, error=error)
