"""What is known of a worker's health, and the verdicts on it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HealthState", "Verdict"]

#: Seconds that the loop has to look anew before it is judged by its last look.
FRESH_S = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one check."""

    check: str
    hostname: str
    reasons: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        own = {"check": self.check, "ok": self.ok, "hostname": self.hostname, "pid": os.getpid()}
        return {**own, "reasons": list(self.reasons), **self.facts}

    def __str__(self) -> str:
        told = "; ".join(self.reasons)
        return f"{self.hostname}: {'' if self.ok else 'not '}{self.check}" + (told and f": {told}")


class HealthState:
    """The loop writes, by `look`; any thread judges. What was seen is replaced as a whole and never changed."""

    def __init__(
        self,
        hostname: str,
        limit_s: float,
        complaints: Callable[[], Sequence[str]] = tuple,
        busy: Callable[[], bool] = lambda: False,
        call_soon: Callable[..., Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit_s` is how long something may be wrong. `busy` tells that the loop stands, since it runs a task."""
        self._hostname, self._limit_s, self._clock = hostname, limit_s, clock
        self._complaints, self._busy, self._call_soon = complaints, busy, call_soon
        self.started = self.stopping = False
        #: Tells what of the consumer is missing; None while there is none.
        self.missing: Callable[[], Sequence[str]] | None = None
        self._turned = clock()
        #: Since when each complaint has been heard without a pause (monotonic seconds).
        self._since: dict[str, float] = {}
        self._missing: Sequence[str] = ("not connected to the broker",)

    def look(self) -> None:
        """Look how everything is. Loop thread only."""
        now = self._clock()
        self._since = {text: self._since.get(text, now) for text in self._complaints()}
        self._missing = ("not connected to the broker",) if self.missing is None else tuple(self.missing())
        self._turned = now

    def judge(self, check: str) -> Verdict:
        """Answer `live`, `ready` or `startup`. Any thread."""
        self._refresh()
        reasons = {"live": self._dead, "ready": self._unready, "startup": self._booting}[check]()
        turned = round(self._clock() - self._turned, 3)
        return Verdict(check, self._hostname, reasons, {"started": self.started, "loop_turned_s_ago": turned})

    def _refresh(self) -> None:
        """Let the loop look, if it turns."""
        if self.started and self._call_soon is not None and not self._busy():
            seen = threading.Event()

            def now() -> None:
                self.look()
                seen.set()

            self._call_soon(now)
            seen.wait(FRESH_S)

    def _dead(self) -> list[str]:
        """Return what shows that it makes no progress, and would not by waiting; never a broker's trouble."""
        now = self._clock()
        reasons = [
            f"{text}, for {now - since:.0f} s" for text, since in self._since.items() if self._is_over(now, since)
        ]
        if self.started and not self._busy() and self._is_over(now, self._turned):
            reasons.insert(0, f"the loop has not turned for {now - self._turned:.0f} s")
        return reasons

    def _is_over(self, now: float, since: float) -> bool:
        return now - since > self._limit_s

    def _unready(self) -> list[str]:
        if self.stopping:
            return ["the worker takes no new work: it is stopping"]
        return self._booting() or [*self._dead(), *self._missing]

    def _booting(self) -> list[str]:
        return [] if self.started else ["the worker is still starting"]
