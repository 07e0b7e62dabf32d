"""From outcome to acknowledgement: the child has stored the result, now settle the message, then announce."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bootsteps import Hooks, Job, Outcome
from bootsteps_consumer_tasks.delivery import Delivery, ack_all
from bootsteps_consumer_tasks.envelope import Envelope
from bootsteps_consumer_tasks.guard import LOST, Guard, count_in
from bootsteps_consumer_tasks.ledger import REMEMBERED, Ledger, Request
from bootsteps_consumer_tasks.limits import NO_LIMITS
from bootsteps_consumer_tasks.lines import Lines
from bootsteps_consumer_tasks.outcome import PLAIN, Report, succeeded
from bootsteps_consumer_tasks.policy import Policy
from bootsteps_consumer_tasks.starts import Starts, snapshot_of
from bootsteps_tasks.backend import meta
from bootsteps_tasks.errors import TaskRevokedError, TimeLimitExceeded, WorkerLostError
from bootsteps_tasks.message import TaskHeaders

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["Settlement"]

log = logging.getLogger("worker.Requests")
#: The outcome of a task that no child got.
NEVER_RAN = Outcome(0)


class Settlement:
    """Settles batches of outcomes. Loop thread only."""

    def __init__(
        self,
        app: App,
        ledger: Ledger,
        hooks: Hooks,
        guard: Guard,
        submit: Callable[[Sequence[Job]], None],
        hostname: str = "",
        starts: Starts | None = None,
    ) -> None:
        self._app = app
        self._ledger = ledger
        self._hooks = hooks
        self._guard = guard
        self._submit = submit
        self._hostname = hostname
        self._lines = Lines(log)
        #: Tells of tasks that begin.
        self.starts = starts
        #: How often a task's child died here, by task id, the latest last.
        self._lost_here: OrderedDict[str, int] = OrderedDict()

    def on_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Acknowledge what is done; try again or give up what was lost.

        A broken connection shows itself here first. The whole batch is settled all the same, and then its error raised.
        """
        broken: Exception | None = None
        plain: list[tuple[Request, Outcome]] = []
        for outcome in outcomes:
            request = self._ledger.settle(outcome.seq)
            if request is None:
                log.debug("job %s was given back before it ended", outcome.seq)
            elif outcome.payload[:1] == PLAIN and request.then is None and request.watch is None:
                plain.append((request, outcome))
            else:
                try:
                    self._settle(request, outcome)
                except Exception as exc:
                    broken = broken or exc
        try:
            self._all_done(plain)
        except Exception as exc:
            broken = broken or exc
        if broken is not None:
            raise broken

    def _all_done(self, plain: Sequence[tuple[Request, Outcome]]) -> None:
        """Settle tasks that succeeded, as `_done` does one, by one call to the channel; tell who hears."""
        if self.starts:
            for request, outcome in plain:
                self.starts.ended(request, outcome)
        for request, _ in plain:
            self._ledger.remember(request.headers.id)
        try:
            ack_all([request.delivery for request, _ in plain])
        finally:  # and if it raises, the messages will come again
            for request, _ in plain:
                if request.delivery.settled:
                    self._ledger.was_finished(request.headers.id)
            if log.isEnabledFor(logging.INFO) or self._hooks.listeners("task_settled"):
                self._tell(plain)

    def _tell(self, plain: Sequence[tuple[Request, Outcome]]) -> None:
        texts = [Report.unpack(outcome.payload).text for _, outcome in plain]
        for (request, outcome), text in zip(plain, texts, strict=True):
            self._lines.add(*succeeded(request.headers, outcome.runtime_s, text))
        self._lines.flush()
        for (request, outcome), text in zip(plain, texts, strict=True):
            self._announce(request.headers, outcome, "SUCCESS", text)

    def _settle(self, request: Request, outcome: Outcome) -> None:
        if self.starts:
            self.starts.ended(request, outcome)
        if request.then is not None:
            self._concluded(request, outcome, request.then)
        elif outcome.lost is None:
            self._done(request, outcome, Report.unpack(outcome.payload))
        elif outcome.timed_out is not None:
            self._timed_out(request, outcome, outcome.timed_out)
        elif request.signum is not None:
            self.revoke(request.headers, request.delivery, "terminated", request.signum)
            self._announce(request.headers, outcome, "REVOKED", "TaskRevokedError('terminated')")
        else:
            self._lost(request, outcome, outcome.lost)

    def _done(self, request: Request, outcome: Outcome, report: Report) -> None:
        delivery = request.delivery
        settle = delivery.reject if report.state == "REJECTED" else delivery.ack
        if report.state == "FAILURE" and request.acks_late and not self._policy(request).acks_on_failure:
            settle = delivery.reject
        if report.state == "REQUEUED":
            self._guard.back(request.headers, delivery)
        else:
            self._finish(request, settle)
        report.log(request.headers, outcome.runtime_s)
        if request.watch is not None:
            if report.soft_limit_s is not None:
                request.watch.timed_out(True, report.soft_limit_s)
            request.watch.ended(report.state, report.cause or report.text, report.traceback, outcome.runtime_s, None)
        self._announce(request.headers, outcome, report.state, report.cause or report.text, report.traceback)

    def _finish(self, request: Request, settle: Callable[[], bool]) -> None:
        """Settle a message; if the broker cannot be told, remember that its task is finished."""
        self._ledger.remember(request.headers.id)
        if settle() or request.delivery.settled:  # and if it raises, the message will come again
            self._ledger.was_finished(request.headers.id)

    def _acknowledge(self, headers: TaskHeaders, delivery: Delivery) -> None:
        self._ledger.remember(headers.id)
        if delivery.ack() or delivery.settled:
            self._ledger.was_finished(headers.id)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand jobs to the pool."""
        self._submit(jobs)
        if self._hooks.listeners("job_submitted"):
            for job in jobs:
                self._hooks.announce("job_submitted", job=job)

    def conclude(
        self,
        headers: TaskHeaders,
        delivery: Delivery,
        error: Exception,
        then: Callable[[Delivery], object],
        state: str = "FAILURE",
    ) -> None:
        """End a task that no child ran to its end: store the state, then call `then` with the delivery.

        If other tasks depend on it (callbacks, a chain, a chord), a child reads the body and lets them know.
        """
        envelope = Envelope.of(delivery.message, self._hostname, (state, error))
        if envelope.stands_alone:
            self.store_failure(headers, error, state)
            then(delivery)
            return
        request = Request(self._ledger.number(), headers, envelope.pack(), delivery, True, NO_LIMITS, known=False)
        request.then = then
        self._ledger.start(request)
        self.submit([request.job()])

    def _concluded(self, request: Request, outcome: Outcome, then: Callable[[Delivery], object]) -> None:
        if outcome.lost is not None:
            error = WorkerLostError(f"Worker exited prematurely: {outcome.lost}")
            self.store_failure(request.headers, error)
        then(request.delivery)

    def _timed_out(self, request: Request, outcome: Outcome, limit_s: float) -> None:
        """The pool ended it at its hard limit. It is not tried again unless that is wanted: it would take as long."""
        log.error(
            "Task %s[%s] was killed at its hard time limit of %g s", request.headers.name, request.headers.id, limit_s
        )
        error = TimeLimitExceeded(limit_s)
        if request.watch is not None:
            request.watch.timed_out(False, limit_s)
        if request.acks_late and not self._policy(request).acks_on_timeout:
            self._try_again(request, outcome, f"it ran into its hard time limit of {limit_s:g} s", error)
            return
        self._fail(request, outcome, error)

    def _fail(self, request: Request, outcome: Outcome, error: Exception) -> None:
        if request.watch is not None:
            request.watch.ended("FAILURE", str(error), _line(error), outcome.runtime_s, error)

        def then(delivery: Delivery) -> None:
            self._acknowledge(request.headers, delivery)
            self._announce(request.headers, outcome, "FAILURE", repr(error), _line(error))

        self.conclude(request.headers, request.delivery, error, then)

    def _lost(self, request: Request, outcome: Outcome, reason: str) -> None:
        """The child died in the middle. Run it again, but not for ever: the task may be what kills."""
        error = WorkerLostError(f"Worker exited prematurely: {reason}")
        if request.acks_late and self._policy(request).again_when_lost:
            self._try_again(request, outcome, reason, error)
            return
        log.error("task %s was lost (%s); it is not tried again", _name(request), reason)
        self._fail(request, outcome, error)

    def _try_again(self, request: Request, outcome: Outcome, reason: str, error: Exception) -> None:
        """Give it back, its attempts counted in the message or by the broker; after the last one park it."""
        attempts, delivery = self._attempts(request), request.delivery
        if attempts <= self._guard.lost_limit:
            log.error("task %s was lost (%s); attempt %d goes back to the queue", _name(request), reason, attempts)
            if delivery.counted is not None:
                delivery.requeue()
            elif delivery.up:  # else the broker delivers it again by itself
                self._guard.again(request.headers, delivery, {LOST: attempts})
            return
        log.error("task %s was lost (%s) after %d attempts; it is not tried again", _name(request), reason, attempts)
        if request.watch is not None:
            request.watch.ended("FAILURE", str(error), _line(error), outcome.runtime_s, error)
        self.give_up(request.headers, delivery, error, f"lost: {reason}", attempts, outcome)

    def give_up(
        self,
        headers: TaskHeaders,
        delivery: Delivery,
        error: Exception,
        reason: str,
        attempts: int,
        outcome: Outcome = NEVER_RAN,
    ) -> None:
        """End a task as failed and park its message; where its connection is broken it comes again, to be parked."""

        def park(delivery: Delivery) -> None:
            if delivery.up:
                self._guard.park(headers, delivery, reason, attempts)
            self._announce(headers, outcome, "FAILURE", repr(error), "" if outcome is NEVER_RAN else _line(error))

        self.conclude(headers, delivery, error, park)

    def revoke(self, headers: TaskHeaders, delivery: Delivery, reason: str, signum: int | None = None) -> None:
        """Settle a task that must not run (any more): `reason` is `revoked`, `expired` or `terminated`."""
        log.info("Task %s[%s] discarded: %s", headers.name, headers.id, reason)
        error = TaskRevokedError(reason)
        self.conclude(headers, delivery, error, partial(self._acknowledge, headers), "REVOKED")
        if self._hooks.listeners("task_revoked"):
            terminated, expired = reason == "terminated", reason == "expired"
            self._hooks.announce("task_revoked", request=headers, terminated=terminated, signum=signum, expired=expired)

    def _policy(self, request: Request) -> Policy:
        return Policy.of(self._app.tasks.get(request.headers.name))

    def _attempts(self, request: Request) -> int:
        """Count the attempts that ended so: the broker's count, or where it keeps none, our own."""
        lost = self._lost_here.pop(request.headers.id, 0) + 1
        self._lost_here[request.headers.id] = lost
        while len(self._lost_here) > REMEMBERED:
            self._lost_here.popitem(last=False)
        counted = request.delivery.counted
        before = count_in(request.delivery.headers, LOST) if counted is None else counted
        return max(lost, before + 1)

    def interrupted(self, request: Request) -> None:
        """Let the caller of a running task know that it is ended, and not run again: it was acknowledged before."""
        log.error("task %s is interrupted by the worker's end; it is not tried again", _name(request))
        self.store_failure(request.headers, WorkerLostError("the worker ended before the task did"))

    def store_failure(self, headers: TaskHeaders, error: Exception, state: str = "FAILURE") -> None:
        """Store a failure that no pool child could store. Errors of the result backend are logged, not raised."""
        task = self._app.tasks.get(headers.name)
        known = {"group_id": headers.group, "parent_id": headers.parent_id}
        further: dict[str, Any] = {key: value for key, value in known.items() if value is not None}
        further |= {"reply_to": headers.reply_to, "correlation_id": headers.correlation_id}
        try:
            backend = self._app.backend if task is None else self._app.backend_of(task)
            backend.store([meta(headers.id, state, error, conf=self._app.conf, **further)])
        except Exception:
            log.exception("the result of task %s could not be stored", headers.id)

    def _announce(self, headers: TaskHeaders, outcome: Outcome, state: str, text: str, traceback: str = "") -> None:
        if self._hooks.listeners("task_settled"):
            snapshot = snapshot_of(headers, outcome)
            facts = {"runtime_s": outcome.runtime_s, "text": text, "traceback": traceback}
            facts["routing_key"] = headers.routing_key
            self._hooks.announce("task_settled", request=snapshot, state=state, **facts)


def _line(error: Exception) -> str:
    """What stands for the traceback of a failure that no Python code raised."""
    return f"{type(error).__name__}: {error}\n"


def _name(request: Request) -> str:
    return f"{request.headers.name}[{request.headers.id}]"
