"""From the ledger to the pool, once for each turn of the loop."""

from __future__ import annotations

from typing import Any

from bootsteps import Pool
from bootsteps_consumer_tasks.ledger import Ledger, Request, State

__all__ = ["HandOver"]


class HandOver:
    """Hands on what the pool takes now. Loop thread only; called at the end of each turn."""

    def __init__(self, ledger: Ledger, pool: Pool, qos: Any) -> None:
        self._ledger = ledger
        self._pool = pool
        self._qos = qos
        self._held = 0
        self._broken: Exception | None = None
        qos.update()

    def __call__(self) -> None:
        self._adjust_prefetch()
        taken = self._ledger.take(self._pool.free())
        if not taken:
            return
        ready = [request for request in taken if request.acks_late or self._acknowledge(request)]
        self._pool.submit([request.job() for request in ready])
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

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
        """A task that waits for its ETA takes no place of those that can run: the prefetch limit grows by it."""
        change = self._ledger.count(State.HELD) - self._held
        if change:
            self._held += change
            adjust = self._qos.increment_eventually if change > 0 else self._qos.decrement_eventually
            adjust(abs(change))
        if self._qos.prev != self._qos.value:
            self._qos.update()
