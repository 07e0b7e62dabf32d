"""From outcome to acknowledgement: the child has stored the result, now settle the message, then announce."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from bootsteps import Hooks, Outcome, RunningRequest
from bootsteps_consumer_tasks.ledger import REMEMBERED, Ledger, Request
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_tasks import App
from bootsteps_tasks.backend import meta
from bootsteps_tasks.errors import TimeLimitExceeded, WorkerLostError

__all__ = ["Settlement"]

log = logging.getLogger("worker.Requests")


class Settlement:
    """Settles batches of outcomes. Loop thread only."""

    def __init__(self, app: App, ledger: Ledger, hooks: Hooks, lost_limit: int) -> None:
        self._app = app
        self._ledger = ledger
        self._hooks = hooks
        self._lost_limit = lost_limit
        #: How often a task's child died here, by task id, the latest last.
        self._lost_here: OrderedDict[str, int] = OrderedDict()

    def on_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Acknowledge what is done; try again or give up what was lost.

        A broken connection shows itself here first. The whole batch is settled all the same, and then its error raised.
        """
        broken: Exception | None = None
        for outcome in outcomes:
            request = self._ledger.settle(outcome.seq)
            if request is None:
                log.debug("job %s was given back before it ended", outcome.seq)
                continue
            try:
                self._settle(request, outcome)
            except Exception as exc:
                broken = broken or exc
        if broken is not None:
            raise broken

    def _settle(self, request: Request, outcome: Outcome) -> None:
        if outcome.lost is None:
            self._done(request, outcome, Report.unpack(outcome.payload))
        elif outcome.timed_out is not None:
            self._timed_out(request, outcome, outcome.timed_out)
        else:
            self._lost(request, outcome, outcome.lost)

    def _done(self, request: Request, outcome: Outcome, report: Report) -> None:
        delivery = request.delivery
        settle = {"REQUEUED": delivery.requeue, "REJECTED": delivery.reject}.get(report.state, delivery.ack)
        self._finish(request, settle, comes_again=report.state == "REQUEUED")
        report.log(request.headers, outcome.runtime_s)
        self._announce(request, outcome, report.state)

    def _finish(self, request: Request, settle: Callable[[], bool], comes_again: bool = False) -> None:
        """Settle a message; if the broker cannot be told, remember that its task is finished."""
        if not comes_again:
            self._ledger.remember(request.headers.id)
        if settle() or request.delivery.settled:  # and if it raises, the message will come again
            self._ledger.was_finished(request.headers.id)

    def _timed_out(self, request: Request, outcome: Outcome, limit_s: float) -> None:
        """The pool ended it at its hard limit. It is not tried again: it would take as long."""
        log.error(
            "Task %s[%s] was killed at its hard time limit of %g s", request.headers.name, request.headers.id, limit_s
        )
        self.store_failure(request.headers.id, TimeLimitExceeded(limit_s))
        self._finish(request, request.delivery.ack)
        self._announce(request, outcome, "FAILURE")

    def _lost(self, request: Request, outcome: Outcome, reason: str) -> None:
        """The child died in the middle. Run it again, but not for ever: the task may be what kills."""
        name = f"{request.headers.name}[{request.headers.id}]"
        attempts = self._attempts(request)
        if request.acks_late and attempts <= self._lost_limit:
            log.error("task %s was lost (%s); attempt %d goes back to the queue", name, reason, attempts)
            request.delivery.requeue()
            return
        log.error("task %s was lost (%s) after %d attempts; it is not tried again", name, reason, attempts)
        error = WorkerLostError(f"Worker exited prematurely: {reason}")
        self.store_failure(request.headers.id, error)
        request.delivery.ack()
        self._announce(request, outcome, "FAILURE")

    def _attempts(self, request: Request) -> int:
        """Count the attempts that ended so: the broker's count, or where it keeps none, our own."""
        lost = self._lost_here.pop(request.headers.id, 0) + 1
        self._lost_here[request.headers.id] = lost
        while len(self._lost_here) > REMEMBERED:
            self._lost_here.popitem(last=False)
        return max(lost, request.delivery.attempts + 1)

    def store_failure(self, task_id: str, error: Exception, state: str = "FAILURE") -> None:
        """Store a failure that no pool child could store. Errors of the result backend are logged, not raised."""
        try:
            self._app.backend.store([meta(task_id, state, error)])
        except Exception:
            log.exception("the result of task %s could not be stored", task_id)

    def _announce(self, request: Request, outcome: Outcome, state: str) -> None:
        if self._hooks.listeners("task_settled"):
            now, headers = time.time(), request.headers
            snapshot = RunningRequest(
                headers.id, headers.name, time.monotonic() - outcome.runtime_s, now - outcome.runtime_s, outcome.pid
            )
            self._hooks.announce("task_settled", request=snapshot, state=state, runtime_s=outcome.runtime_s)
