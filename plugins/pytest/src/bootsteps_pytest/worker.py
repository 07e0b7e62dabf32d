"""A real worker in a thread of this process."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bootsteps import Catalogue, compose, hookimpl, scan
from bootsteps.errors import KernelError
from bootsteps_tasks import App
from bootsteps_worker.controller import WorkController

__all__ = ["PING", "start_worker"]

#: A task that every application has while a worker of a test runs; Celery's has the same name.
PING = "celery.ping"
#: What is for operators and for clusters: left out if it is installed.
LEFT_OUT = tuple(
    f"bootsteps-{name}"
    for name in (
        *("autoscaler", "consumer-gossip", "consumer-mingle", "control-socket", "daemon", "debugger", "health"),
        *("metrics-prometheus", "statedb", "systemd", "worker-autoreloader", "worker-beat"),
    )
)


class _Worker(threading.Thread):
    """Runs a controller; `ready` is set when it consumes, or has ended."""

    def __init__(self, controller: WorkController) -> None:
        super().__init__(name=f"worker {controller.hostname}", daemon=True)
        self.controller = controller
        self.ready = threading.Event()
        self.error: BaseException | None = None

    @hookimpl
    def worker_ready(self) -> None:
        self.ready.set()

    def run(self) -> None:
        hooks = self.controller.app.hooks
        hooks.register(self, self.name)
        try:
            self.controller.prepare()
            self.controller.start()
        except BaseException as exc:  # told to whoever waits for it
            self.error = exc
        finally:
            hooks.unregister(self)
            self.ready.set()


@contextmanager
def start_worker(
    app: App,
    *,
    pool: str = "solo",
    hostname: str | None = None,
    loglevel: str | int | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    without: Sequence[str] = (),
    **settings: Any,
) -> Iterator[WorkController]:
    """Run a worker for an application while the block runs, in a thread; yield its controller.

    `settings` go above the application's own (`worker_concurrency=2`); `without` names more plugins to leave out. The
    check runs the task `celery.ping` (`ping_task_timeout` seconds). Raises what the worker's start raises, and
    `KernelError` if it is not ready, or has not ended after `shutdown_timeout` seconds.
    """
    level = loglevel or os.environ.get("WORKER_LOGLEVEL")
    if level is not None:
        logging.basicConfig(level=level.upper() if isinstance(level, str) else level)
    if PING not in app.tasks:
        app.task(name=PING)(_pong)
    with _set(app, {"worker_pool": pool, **settings}):
        worker = _Worker(_made(app, hostname or f"test-{os.getpid()}@{socket.gethostname()}", without))
        worker.start()
        try:
            _await_ready(worker, ping_task_timeout)
            if perform_ping_check:
                app.send_task(PING).get(timeout=ping_task_timeout)
            yield worker.controller
        finally:
            _end(worker, shutdown_timeout)


def _pong() -> str:
    return "pong"


def _made(app: App, hostname: str, without: Sequence[str]) -> WorkController:
    plugins = scan()
    installed = {plugin.dist for plugin in plugins}
    catalogue = Catalogue(plugins, sorted({*without, *installed.intersection(LEFT_OUT)}))
    app.load()
    return WorkController(app, compose(app, catalogue), hostname=hostname)


def _await_ready(worker: _Worker, timeout_s: float) -> None:
    there = worker.ready.wait(timeout_s)
    if worker.error is not None:
        raise worker.error
    if not there:
        what = f"the worker of the test is not ready after {timeout_s} s"
        raise KernelError(what, (worker.name,), "is its broker there? WORKER_LOGLEVEL=DEBUG tells more")


def _end(worker: _Worker, timeout_s: float) -> None:
    worker.controller.stop()
    worker.join(timeout_s)
    if worker.is_alive():
        worker.controller.terminate()
        what = f"the worker of the test has not ended after {timeout_s} s"
        raise KernelError(what, (worker.name,), "a task still runs; wait for it, or set shutdown_timeout")


@contextmanager
def _set(app: App, settings: Mapping[str, Any]) -> Iterator[None]:
    """Give an application settings for a while."""
    before = {name: app.conf.given(name) for name in settings if app.conf.source(name) == "application"}
    app.conf.update(settings)
    try:
        yield
    finally:
        for name in settings:
            if name in before:
                app.conf[name] = before[name]
            else:
                del app.conf[name]
