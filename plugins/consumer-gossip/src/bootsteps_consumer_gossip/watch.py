"""When to look whether somebody is waited for in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import Timer, TimerEntry

if TYPE_CHECKING:
    from bootsteps_consumer_gossip.gossip import Gossip

__all__ = ["Watch"]

#: Seconds between two looks for workers whose heartbeat is overdue (Celery's number).
LOOK_EVERY_S = 5.0
#: Seconds between two looks whether an election has waited long enough.
ELECTION_LOOK_S = 0.5


class Watch:
    """Looks for overdue heartbeats all the time, and more often while an election waits: who is idle shall sleep."""

    def __init__(self, gossip: Gossip, timer: Timer) -> None:
        self._gossip, self._timer = gossip, timer
        self._always: TimerEntry | None = None
        self._soon: TimerEntry | None = None

    def begin(self) -> None:
        self._always = self._timer.call_repeatedly(LOOK_EVERY_S, self._gossip.look)

    def after_event(self) -> None:
        """It may have begun an election."""
        if self._soon is None and self._gossip.waits:
            self._soon = self._timer.call_after(ELECTION_LOOK_S, self._look)

    def _look(self) -> None:
        self._soon = None
        try:
            self._gossip.look()
        finally:
            self.after_event()

    def end(self) -> None:
        for entry in (self._always, self._soon):
            if entry is not None:
                entry.cancel()
