"""How many messages the worker holds: so many as it will run in a moment, by what it ran a moment ago."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from bootsteps import Pool, Timer, TimerEntry
from bootsteps_consumer_tasks.delivery import give_back_all
from bootsteps_consumer_tasks.ledger import Ledger, Request, State
from bootsteps_consumer_tasks.prefetch import Prefetch
from bootsteps_consumer_tasks.starts import Starts

__all__ = [
    "AHEAD", "COPIED_MOST", "LOOK_S", "MOST", "PUSHED", "STILL_S", "Window", "can_follow", "can_give_back",
]  # fmt: skip

#: Looks that often while there is work for more than the pool can run, so a window is never wrong for longer.
LOOK_S = 0.02
#: Beyond the prefetch limit the worker holds what it ran during one look, and half of that again, so that it can grow.
AHEAD = 1.5
#: And so many for each running task at most: twice what a pool child is given. Beyond, a larger batch saves nothing.
MOST = 128
#: A broker that pushes (RabbitMQ) stops for 10 to 20 ms now and then, to collect its garbage: what it has sent before
#: must last as long. So it is four times both, if the first is more than the usual.
PUSHED = 4
#: Copies are made of what would wait here for so many seconds, at the pace of the last STILL_S,
COPIED_S = 1.0
#: and of so many at a look.
COPIED_MOST = 100
#: A window that is so many times too large stays as it is.
KEPT = 1.5
#: After so long without an end of a task what waits behind those that run is given back.
STILL_S = 0.25


class Window:
    """Lets the prefetch limit follow the pace of the pool. Loop thread only.

    Where tasks are short a window of some messages means a round trip to the broker for each handful. Where they are
    long, whatever waits here could be run by another worker. So the window grows with the tasks that end, and when they
    do not end any more, what was not started goes back to its queue, at its old place and not counted as an attempt,
    if the channel can do that. If it cannot (RabbitMQ), what is beyond the usual and would wait here for more than a
    second goes to the end of its queue, as a copy.
    """

    def __init__(
        self,
        qos: Prefetch,
        ledger: Ledger,
        pool: Pool,
        timer: Timer,
        usual: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        starts: Starts | None = None,
        copies: Callable[[Sequence[Request]], bool] | None = None,
    ) -> None:
        """`usual()` is the window of a worker that knows nothing yet, without what was added by remote control.

        `copies(requests)` gives requests back where the channel cannot, and costs more. False: it cannot either.
        """
        self._qos = qos
        self._ledger = ledger
        self._pool = pool
        self._timer = timer
        self._usual = usual
        self._clock = clock
        self._starts = starts
        self._copies = copies
        self._can_copy = True
        self._entry: TimerEntry | None = None
        #: The next look is a late one.
        self._calm = False
        #: At the last look there was room for more.
        self._had_room = False
        #: It is time to look.
        self._due = False
        self._busy_since = self._looked_at = 0.0
        self._seen = 0
        #: (when, how many) tasks that ended, for the last STILL_S.
        self._ends: deque[tuple[float, int]] = deque()

    def watch(self) -> None:
        """Look when it is time, as long as there is work. Called at each turn of the loop."""
        if self._due:  # not in the timer's call: what a broken connection raises is lost there
            self._due = False
            self._look()
        elif self._entry is None:
            if self._ledger.held():
                self._busy_since = self._looked_at = self._clock()
                self._seen = self._ledger.ended
                self._ends.clear()
                self._look_later()
        elif self._calm and self._ledger.held() > self._pool.concurrency:
            self._entry.cancel()
            self._look_later()

    def _look_later(self) -> None:
        """Look soon; if nothing waits and the window is the usual one, when it would be too large for long tasks."""
        self._calm = not self._qos.extra and self._ledger.held() <= self._pool.concurrency
        self._entry = self._timer.call_after(STILL_S if self._calm else LOOK_S, self._ring)

    def _ring(self) -> None:
        self._due, self._entry = True, None

    def stop(self) -> None:
        """Look no more."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def _look(self) -> None:
        if not self._ledger.held():
            self._ledger.given_back = 0
            self._qos.stretch(0)
            return
        if self._qos.value:  # else there is no limit, by remote control
            self._adapt()
        self._look_later()

    def _adapt(self) -> None:
        wanted, usual = self._wanted(self._clock()), self._usual()
        self._qos.stretch(wanted - usual)
        waiting = self._ledger.count(State.HELD) + self._ledger.count(State.LIMITED)
        asked = max(0, self._qos.value - usual - waiting)  # for more, by remote control
        surplus = self._ledger.held() - wanted - asked
        if surplus > 0 and self._copies is None:
            give_back_all([request.delivery for request in self._withdraw(surplus)])
        elif surplus > 0:
            self._give_back_copies(surplus - max(0, usual - wanted))
        elif self._had_room and surplus < 0:
            self._ledger.given_back = 0  # the broker had nothing more: somebody else has it
        self._had_room = surplus < 0

    def _wanted(self, now: float) -> int:
        ended, self._seen = self._ledger.ended - self._seen, self._ledger.ended
        passed, self._looked_at = max(now - self._looked_at, 1e-6), now
        ends = self._ends
        ends.append((now, ended))
        while ends[0][0] <= now - STILL_S:
            ends.popleft()
        size, usual = self._pool.concurrency, self._usual()
        pace, most = AHEAD * ended * min(1.0, LOOK_S / passed), MOST * size
        if self._copies is not None and pace > usual:
            pace, most = PUSHED * pace, PUSHED * most
        if now - self._busy_since < STILL_S:
            least = usual
        else:
            least = min(usual, size + sum(number for _, number in ends))
        wanted, before = max(least, min(int(pace), most)), usual + self._qos.extra
        # The pace is never quite the same: for little nothing is given back.
        return before if usual < wanted < before <= KEPT * wanted else wanted

    def _give_back_copies(self, surplus: int) -> None:
        """Give back some of what is beyond the usual, if it would wait here for long."""
        calm = self._clock() - self._busy_since >= STILL_S
        waits_long = surplus * STILL_S > COPIED_S * sum(number for _, number in self._ends)
        if self._copies is not None and self._can_copy and surplus > 0 and calm and waits_long:
            requests = self._withdraw(min(surplus, COPIED_MOST))
            self._can_copy = not requests or self._copies(requests)

    def _withdraw(self, most: int) -> list[Request]:
        """Take off the ledger the newest of those that nobody has started."""
        requests = self._ledger.withdraw_waiting(most)
        withdraw: Callable[[int, Callable[[int], bool]], Sequence[int]] | None
        withdraw = getattr(self._pool, "withdraw", None)
        if withdraw is not None and len(requests) < most:
            requests += self._ledger.withdraw(withdraw(most - len(requests), self._ledger.can_withdraw))
        if self._starts is not None:
            self._starts.forget(requests)
        return requests


def can_give_back(channel: Any) -> bool:
    """Tell whether a channel can put a delivery back as if it had never been made."""
    return getattr(channel, "give_back", None) is not None


def can_follow(channel: Any) -> bool:
    """Tell whether the prefetch limit of a channel may change all the time."""
    return can_give_back(channel) or bool(getattr(channel, "follows_pace", False))
