"""The worker as an object: boots its blueprint, runs it until told to stop, and takes it down."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bootsteps import HUB, REQUESTS, TIMER, App, Blueprint, Parent, Plan, RunningRequest

__all__ = ["WorkController"]

log = logging.getLogger("worker")


class WorkController(Parent):
    """Runs the Worker blueprint. The guide's attributes are here: `app`, `hostname`, `blueprint` and every service.

    `start()` blocks in the calling thread, which becomes the loop thread. `stop()` and `terminate()` may be called from
    a signal handler or from any thread: they set a wish that the loop acts on.
    """

    def __init__(
        self,
        app: App,
        plan: Plan,
        *,
        hostname: str,
        options: Mapping[str, Any] | None = None,
        grace_s: float | None = 25.0,
    ) -> None:
        super().__init__(app, hostname=hostname, options=options)
        self.grace_s = grace_s
        #: `warm` or `cold` once somebody wishes the worker to end.
        self.wish: str | None = None
        self.exitcode = 0
        Blueprint(plan, self)
        for name, listener in plan.listeners:
            self.hooks.register(listener, name)

    def prepare(self) -> None:
        """Make the steps and their objects, without starting any. Raises `BootError`."""
        self.blueprint.apply()

    def start(self) -> int:
        """Boot, run until a wish to end, stop everything; return the exit status. Raises what a step's start raised."""
        self.blueprint.start()
        try:
            log.info("%s ready.", self.hostname)
            self.hooks.announce("worker_ready", worker=self)
            self.blueprint.run(lambda: self.wish is not None)
            self._drain()
        except SystemExit as exc:  # a step may end the worker so
            self.exitcode = exc.code if isinstance(exc.code, int) else 1
            self.wish = "cold"
        except BaseException:
            self.wish = "cold"
            raise
        finally:
            self._stop()
        return self.exitcode

    def stop(self, exitcode: int = 0) -> None:
        """Wish for a warm shutdown; a second wish makes it cold."""
        self.exitcode = exitcode or self.exitcode
        self.wish = "warm" if self.wish is None else "cold"

    def terminate(self, exitcode: int = 0) -> None:
        """Wish for a cold shutdown."""
        self.exitcode = exitcode or self.exitcode
        self.wish = "cold"

    def _drain(self) -> None:
        """Take no new work, and let what runs finish within the grace period."""
        how = self.wish or "warm"
        self.hooks.announce("worker_stopping", worker=self, how=how)
        if how == "cold":
            return
        log.info("warm shutdown: taking no new work, running tasks have %s s", self.grace_s or "unlimited")
        self.blueprint.close()
        ends = time.monotonic() + self.grace_s if self.grace_s else float("inf")
        if self.grace_s and self.services.knows(TIMER.name):
            self.get(TIMER).call_after(self.grace_s, lambda: None)  # wakes the loop
        self.blueprint.run(lambda: self.wish == "cold" or self.blueprint.idle() or time.monotonic() >= ends)
        if not self.blueprint.idle():
            self.wish = "cold"

    def _stop(self) -> None:
        cold = self.wish == "cold"
        if cold:
            log.warning("cold shutdown: what runs is interrupted and given back")
        self.blueprint.stop(terminate=cold)
        self.blueprint.shutdown_nested()
        log.info("%s is gone.", self.hostname)

    @property
    def active_requests(self) -> Sequence[RunningRequest]:
        """A snapshot of the tasks that are executed now: each has `id`, `name`, `time_start` (Unix seconds), `pid`."""
        try:
            return self.get(REQUESTS).running()
        except LookupError:
            return ()

    @property
    def use_eventloop(self) -> bool:
        """Tell whether there is a hub: with every broker, also one whose transport can only block."""
        return self.services.knows(HUB.name)

    def info(self) -> dict[str, Any]:
        """Return what the steps tell of themselves."""
        return self.blueprint.info()

    def __str__(self) -> str:
        return self.hostname

    def __repr__(self) -> str:
        return f"<Worker {self.hostname}>"
