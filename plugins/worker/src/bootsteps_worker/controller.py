"""The worker as an object: boots its blueprint, runs it until told to stop, and takes it down."""

from __future__ import annotations

import importlib
import logging
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from bootsteps import HUB, POOL, REQUESTS, TIMER, App, Blueprint, Parent, Plan, Pool, RunningRequest
from bootsteps_worker.tally import Tally

__all__ = ["WorkController"]

log = logging.getLogger("worker")
RUSAGE = tuple(
    f"ru_{name}"
    for name in (
        *("utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock"),
        *("msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
    )
)


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
        self._made_at = time.monotonic()
        self._tally = Tally()
        #: When this worker was made (Unix seconds).
        self.startup_time = time.time()
        Blueprint(plan, self)
        app.hooks.adopt(plan.listeners)

    def prepare(self) -> None:
        """Make the steps and their objects, without starting any. Raises `BootError`."""
        self.hooks.announce("worker_init", worker=self)
        self.blueprint.apply()
        self.hooks.announce("celeryd_after_setup", hostname=self.hostname, worker=self)

    def start(self) -> int:
        """Boot, run until a wish to end, stop everything; return the exit status. Raises what a step's start raised."""
        self.blueprint.start()
        try:
            if (pool := self._pool()) is not None:
                self.hooks.announce("pool_started", pool=pool)
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

    def reload(
        self,
        modules: Iterable[str] | None = None,
        reload: bool = False,
        reloader: Callable[[ModuleType], object] | None = None,
    ) -> None:
        """Have new pool children, each when its predecessor has finished its task; loop thread only.

        `modules` are imported before; with `reload` all of the application's are imported anew, or if there is a
        `reloader`, that is called with each of `modules`. Raises what an import raises: then nothing happens.
        """
        names = list(modules or ())
        if reload and reloader is None:
            self.app.renew(names)
        for name in names:
            module = importlib.import_module(name)
            if reload and reloader is not None:
                reloader(module)
        self.hooks.announce("application_renewed", app=self.app)
        self.get(POOL).restart()

    def _drain(self) -> None:
        """Take no new work, and let what runs finish within the grace period."""
        how = self.wish or "warm"
        self.hooks.register(self._tally, "tally")  # only now: who hears of each task makes each dearer
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
        pool = self._pool()
        if pool is not None:
            self.hooks.announce("pool_stopping", pool=pool)
        self.blueprint.stop(terminate=cold)
        self.blueprint.shutdown_nested()
        if pool is not None:
            self.hooks.announce("pool_stopped", pool=pool)
        log.log(logging.WARNING if self._tally.interrupted else logging.INFO, "%s", self._tally)
        self.hooks.unregister(self._tally)
        self.hooks.announce("worker_shutdown", worker=self)
        log.info("%s is gone.", self.hostname)

    def _pool(self) -> Pool | None:
        """The pool, if there is one."""
        try:
            return self.get(POOL)
        except LookupError:
            return None

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

    def stats(self) -> dict[str, Any]:
        """Return what `inspect stats` shows: the process, its logical clock, and what the steps tell."""
        clock = getattr(self.app, "clock", None)
        facts = {"pid": os.getpid(), "uptime": round(time.monotonic() - self._made_at), **self.info()}
        return facts | ({} if clock is None else {"clock": str(clock)}) | {"rusage": self.rusage()}

    def rusage(self) -> dict[str, float]:
        """Return what the system says that this process has used, as `getrusage` names it without `ru_`."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {name.removeprefix("ru_"): getattr(used, name) for name in RUSAGE}

    def __str__(self) -> str:
        return self.hostname

    def __repr__(self) -> str:
        return f"<Worker {self.hostname}>"
