"""From the ledger to the pool, once for each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bootsteps import Pool, Timer, TimerEntry
from bootsteps_consumer_tasks.ledger import Ledger, Request, State
from bootsteps_consumer_tasks.rates import Buckets
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_consumer_tasks.settlement import Settlement

if TYPE_CHECKING:
    from bootsteps_consumer_tasks.window import Window

__all__ = ["MOST_LIMITED", "HandOver"]

#: For so many requests that wait for a rate limit the prefetch limit grows. What is behind more of them in the queue
#: waits too: memory is bounded, and who has such queues gives the limited tasks one of their own.
MOST_LIMITED = 10_000
#: So many for each running task are enough for a moment.
ENOUGH = 32


class HandOver:
    """Hands on what the pool takes now. Loop thread only; called at the end of each turn."""

    def __init__(
        self, ledger: Ledger, pool: Pool, qos: Any, settlement: Settlement, revoked: Revoked, buckets: Buckets,
        timer: Timer, end_intake: Callable[[], object], window: Window | None = None,
    ) -> None:  # fmt: skip
        """`end_intake()` is called first of all: nothing more is delivered in this turn."""
        self._ledger = ledger
        self._pool = pool
        self._qos = qos
        self._settlement = settlement
        self._revoked = revoked
        self._buckets = buckets
        self._timer = timer
        self._window = window
        self._end_intake = end_intake
        self._wake: TimerEntry | None = None
        self._held = 0
        self._broken: Exception | None = None
        qos.update()

    def __call__(self) -> None:
        self._end_intake()
        for request in self._ledger.recalled():
            self._discard(request, "revoked")
        if self._ledger.waits():
            self._hand_over()
        self._adjust_prefetch()
        if self._window is not None:
            self._window.watch()
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    def has_enough(self) -> bool:
        """Tell whether so many wait for the pool that more need not be read now."""
        return self._ledger.count(State.RESERVED) >= ENOUGH * self._pool.concurrency

    def _hand_over(self) -> None:
        ready: list[Request] = []
        limited = self._ledger.count(State.LIMITED)
        room = self._pool.free()
        while room > len(ready):
            taken = self._take_limited(room - len(ready)) if limited else []
            taken += self._ledger.take(room - len(ready) - len(taken))
            if not taken:
                break
            revoking = bool(self._revoked)
            ready += [request for request in taken if self._may_start(request, revoking)]
        if limited:
            self._wake_for_the_next()
        if ready:
            if self._settlement.starts is not None:
                self._settlement.starts.watch(ready)
            self._settlement.submit([request.job() for request in ready])

    def stop(self) -> None:
        """Wake the loop no more."""
        self._stop_waking()
        if self._window is not None:
            self._window.stop()

    def _stop_waking(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _take_limited(self, most: int) -> list[Request]:
        """Return the requests whose rate limit lets them start now."""
        taken = list(self._buckets.due(most))
        for request in taken:
            self._ledger.start(request)
        return taken

    def _wake_for_the_next(self) -> None:
        """Turn the loop when the next rate-limited request may start; if the pool is full, its next outcome does."""
        self._stop_waking()
        seconds = self._buckets.next_s()
        if seconds and self._pool.free():
            self._wake = self._timer.call_after(seconds, lambda: None)

    def _may_start(self, request: Request, revoking: bool) -> bool:
        """Tell whether it is still wanted; settle it if not, and acknowledge it if that comes before its start."""
        headers = request.headers
        if headers.expires is not None and headers.expires <= datetime.now(UTC):
            self._discard(request, "expired")
            return False
        if revoking and self._revoked.covers(headers.id, request.delivery.headers):
            self._discard(request, "revoked")
            return False
        return request.acks_late or self._acknowledge(request)

    def _discard(self, request: Request, reason: str) -> None:
        if self._ledger.settle(request.seq) is None:
            return
        if request.release is not None:
            request.release()
        try:
            self._settlement.revoke(request.headers, request.delivery, reason)
        except Exception as exc:
            self._broken = exc

    def _acknowledge(self, request: Request) -> bool:
        """Acknowledge before the start; False when the connection breaks, and the broker delivers it again."""
        try:
            request.delivery.ack()
        except Exception as exc:
            self._ledger.settle(request.seq)
            self._broken = exc
            return False
        return True

    def _adjust_prefetch(self) -> None:
        """A task that waits takes no place of those that can run: the prefetch limit grows by it, within bounds."""
        limited = min(self._ledger.count(State.LIMITED), MOST_LIMITED)
        change = self._ledger.count(State.HELD) + limited - self._held
        if change:
            self._held += change
            adjust = self._qos.increment_eventually if change > 0 else self._qos.decrement_eventually
            adjust(abs(change))
        if self._qos.prev != self._qos.value:
            self._qos.update()
