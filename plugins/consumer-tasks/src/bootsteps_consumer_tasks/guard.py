"""The poison guard: what is delivered again and again is parked in a quarantine queue, never lost and never looping.

Attempts are counted before the run and where a dead worker cannot take the count with it: by the broker if it counts,
else in a header of the message, for which it is published anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bootsteps import Hooks
from bootsteps_consumer_tasks.delivery import Delivery, ack_all
from bootsteps_consumer_tasks.ledger import Ledger, Request
from bootsteps_consumer_tasks.poster import Poster, origin_of, queue_of
from bootsteps_tasks.message import TaskHeaders

__all__ = ["DELIVERIES", "LOST", "QUARANTINE", "UNKNOWN", "Guard", "count_in"]

log = logging.getLogger("consumer.Tasks")

#: Headers of ours: deliveries without an acknowledgement, children lost, and workers that did not know the task.
DELIVERIES, LOST, UNKNOWN = "x-bootsteps-deliveries", "x-bootsteps-lost", "x-bootsteps-unknown"
#: A message that is to be published anew: what its headers say, its delivery, the headers that it gets besides.
Again = tuple[TaskHeaders, Delivery, Mapping[str, Any]]
#: The beginning of the headers that tell of a quarantine: `-reason`, `-attempts`, `-time`, `-queue`, ...
QUARANTINE = "x-bootsteps-quarantine"


def count_in(headers: Mapping[str, Any], name: str) -> int:
    """Return a count of ours in message headers; what is none counts as 0."""
    found = headers.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


class Guard:
    """Counts attempts and parks what has had too many. Loop thread only."""

    def __init__(
        self,
        poster: Poster,
        ledger: Ledger,
        hooks: Hooks,
        hostname: str = "",
        lost_limit: int = 3,
        redelivered_limit: int = 10,
    ) -> None:
        self._poster = poster
        self._ledger = ledger
        self._hooks = hooks
        self._hostname = hostname
        self.lost_limit = lost_limit
        self.redelivered_limit = redelivered_limit
        #: The kombu queues that are consumed from.
        self.queues: Iterable[Any] = ()
        #: Takes a message of which no copy can be published, as if it had just come.
        self.take: Callable[[Any], object] = lambda message: None
        self._coming_again: list[Again] = []

    def turned_up_again(self, headers: TaskHeaders, delivery: Delivery) -> str | None:
        """Deal with a delivery that is not the first, and whose fate nobody here knows.

        Returns None if it may go on to its run, `""` if it comes back with its count (`flush` publishes the copy), else
        the reason for which it must be parked.
        """
        counted = delivery.counted
        if counted is not None:
            return self._too_often(counted)
        if headers.eta is not None and headers.eta > datetime.now(UTC):
            return None  # its earlier deliveries cannot have been started
        count = count_in(delivery.headers, DELIVERIES) + 1
        reason = self._too_often(count)
        if reason is not None:
            return reason
        self._coming_again.append((headers, delivery, {DELIVERIES: count}))
        return ""

    def flush(self) -> None:
        """Publish what comes back with its count, all of this turn together: after a crash there are hundreds."""
        if not self._coming_again:
            return
        again, self._coming_again = self._coming_again, []
        for (headers, delivery, _), why in self._publish_anew(again):
            log.error("Task %s[%s] runs uncounted, a copy cannot be published: %s", headers.name, headers.id, why)
            self._take_here(headers, delivery)

    def give_back(self, requests: Sequence[Request]) -> bool:
        """Put what nobody began to work on at the end of its queues, by copies; False if that is not possible.

        Where the broker would take it for an attempt that failed. What it does not take is taken here anew.
        """
        left = self._publish_anew([(request.headers, request.delivery, {}) for request in requests])
        for (headers, delivery, _), _ in left:
            self._take_here(headers, delivery)
        if left:
            log.warning("%d tasks that wait here cannot be given back, and are kept: %s", len(left), left[0][1])
        return not left

    def _take_here(self, headers: TaskHeaders, delivery: Delivery) -> None:
        if headers.redelivered:
            self._ledger.excuse(headers.id)
        self.take(delivery.message)

    def _publish_anew(self, again: Sequence[Again]) -> list[tuple[Again, object]]:
        """Publish copies, then acknowledge; return of which there is none, and why."""
        again = [entry for entry in again if entry[1].up]  # else the broker delivers it again by itself
        copies = [(delivery.message, queue_of(delivery.message, self.queues), note) for _, delivery, note in again]
        try:
            refused = self._poster.repost_many(copies) if copies else {}
        except Exception as exc:
            refused = dict.fromkeys(range(len(copies)), exc)
        taken = [entry for place, entry in enumerate(again) if place not in refused]
        for headers, _, note in taken:
            if DELIVERIES in note:
                told = headers.name, headers.id, note[DELIVERIES]
                log.info("Task %s[%s] comes again (%d): published with this count", *told)
        self._forget([(headers, delivery) for headers, delivery, _ in taken])
        return [(again[place], why) for place, why in refused.items()]

    def _too_often(self, count: int) -> str | None:
        if count <= self.redelivered_limit:
            return None
        return f"it was delivered {count + 1} times and never acknowledged"

    def again(self, headers: TaskHeaders, delivery: Delivery, note: Mapping[str, Any]) -> None:
        """Put a copy with further headers at the end of its queue, then acknowledge this one.

        Where nothing can be published (a full disk, a right that is missing) this one goes back as it is.
        """
        try:
            self._poster.repost(delivery.message, queue_of(delivery.message, self.queues), note)
        except Exception as exc:
            log.error("Task %s[%s] goes back uncounted, a copy cannot be published: %s", headers.name, headers.id, exc)
            delivery.requeue()
            return
        self._forget([(headers, delivery)])

    def back(self, headers: TaskHeaders, delivery: Delivery) -> None:
        """Give a message back because its task wants that: no attempt that failed."""
        if delivery.can_give_back:
            delivery.give_back()
        elif delivery.up:
            self.again(headers, delivery, {})

    def _forget(self, moved: Sequence[tuple[TaskHeaders, Delivery]]) -> None:
        """Acknowledge messages that live on elsewhere; if that fails, know them when they come again."""
        for headers, _ in moved:
            self._ledger.remember(headers.id)
        ack_all(delivery for _, delivery in moved)
        for headers, delivery in moved:
            if delivery.settled:
                self._ledger.was_finished(headers.id)

    def park(self, headers: TaskHeaders, delivery: Delivery, reason: str, attempts: int) -> None:
        """Put a message into quarantine, then acknowledge it; say so in the log and by the hook."""
        queue = queue_of(delivery.message, self.queues)
        parked = f"{queue}.quarantine"
        exchange, key = origin_of(delivery.message)
        facts = {
            "reason": reason,
            "attempts": attempts,
            "time": datetime.now(UTC).isoformat(),
            "queue": queue,
            "exchange": exchange,
            "routing-key": key,
            "worker": self._hostname,
        }
        note = {f"{QUARANTINE}-{name}": fact for name, fact in facts.items()}
        try:
            self._poster.park(delivery.message, parked, note)
        except Exception as exc:
            text = "Task %s[%s] cannot be parked in %s and stays with this worker, not acknowledged: %s (%s)"
            log.error(text, headers.name, headers.id, parked, exc, reason)
            return
        self._forget([(headers, delivery)])
        log.error(
            "Task %s[%s] is in quarantine, its message in the queue %s: %s (kernel quarantine list -Q %s)",
            headers.name, headers.id, parked, reason, queue,
        )  # fmt: skip
        self._hooks.announce("task_quarantined", id=headers.id, name=headers.name, queue=parked, reason=reason)
