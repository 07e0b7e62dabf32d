"""The step `Systemd`: what a worker tells systemd, and when."""

from __future__ import annotations

import os
import time

from bootsteps import TIMER, Step, WorkerView, hookimpl
from bootsteps_systemd.notify import tell

__all__ = ["Systemd"]


class Systemd(Step):
    """Tells of the beginning and the end, and with `WatchdogSec=` that the loop turns.

    Left out where `NOTIFY_SOCKET` is not set.
    """

    wants = (TIMER,)
    #: It stops only to start anew.
    _reloading = False

    def include_if(self, worker: WorkerView) -> bool:
        return bool(os.environ.get("NOTIFY_SOCKET"))

    def start(self, worker: WorkerView) -> None:
        timer, period = worker.get(TIMER, None), _period_s()
        if timer is not None and period:
            tick = timer.call_repeatedly(period / 2, tell, ("WATCHDOG=1",))
            worker.on_stop(tick.cancel)

    @hookimpl
    def worker_ready(self, worker: object) -> None:
        tell("READY=1", f"STATUS={worker} is ready", f"MAINPID={os.getpid()}")

    @hookimpl
    def worker_shutting_down(self, sig: str) -> None:
        self._reloading = sig == "SIGHUP"
        if self._reloading:  # it will be READY again
            tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    @hookimpl
    def worker_stopping(self, how: str) -> None:
        if not self._reloading:
            tell("STOPPING=1", f"STATUS={how} shutdown")


def _period_s() -> float:
    """Return what systemd allows between two signs of life, in seconds; 0 = it does not watch this process."""
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if for_us and text.isdigit() else 0.0
