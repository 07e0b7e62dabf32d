"""A real Celery receiver in a thread, and applications of both sides that do the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workers import running_worker, until

__all__ = ["APP", "Monitor", "celery_worker", "our_worker"]

#: For both sides; `{name}` is of the queue and the exchanges, since one server serves all tests.
APP = """
    import time
    {imports}
    app = App("proj", broker={broker!r})
    app.conf.update(
        task_default_queue={name!r}, control_exchange={name!r}, event_exchange="{name}.ev", task_ignore_result=True,
        task_acks_late=True,
    )

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def fail():
        raise ValueError("bad", 42)

    @app.task(bind=True, max_retries=1)
    def again(self):
        if self.request.retries < 1:
            raise self.retry(countdown=0.2, exc=KeyError("nope"))

    @app.task(bind=True)
    def tell(self):
        self.send_event("task-progress", done=3)

    @app.task
    def reject(requeue=False):
        raise Reject("no", requeue=requeue)

    @app.task
    def nap(seconds):
        time.sleep(seconds)

    @app.task(send_events=False)
    def quiet():
        pass
"""
OURS = "from bootsteps_tasks import App\n    from bootsteps_tasks.errors import Reject"
THEIRS = "from celery import Celery as App\n    from celery.exceptions import Reject"


@contextmanager
def our_worker(folder: Path, url: str, name: str, *args: str) -> Iterator[Any]:
    """Start a worker of ours."""
    folder.mkdir(exist_ok=True)
    app = APP.format(imports=OURS, broker=url, name=name)
    with running_worker(folder, "-c", "1", "-n", f"{name}@here", *args, app=app, broker=url) as worker:
        yield worker
        if worker.process.poll() is None:
            assert worker.stop() == 0


@contextmanager
def celery_worker(folder: Path, url: str, name: str, *args: str) -> Iterator[None]:
    """Start a worker of Celery."""
    folder.mkdir(exist_ok=True)
    (folder / "proj.py").write_text(textwrap.dedent(APP.format(imports=THEIRS, broker=url, name=name)))
    words = ["-A", "proj", "worker", "-c", "1", "-n", f"{name}@here", "-l", "INFO", *args]
    with (folder / "celery.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            env=dict(os.environ, PYTHONPATH=str(folder)),
        )  # fmt: skip
    try:
        until(lambda: " ready." in (folder / "celery.log").read_text(), "Celery's worker")
        yield
        process.terminate()
        process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class Monitor:
    """What a receiver hears, in `events`; `app` is a Celery application or one of ours."""

    def __init__(self, app: Any, wakeup: bool = True) -> None:
        self.app = app
        self.events: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._wakeup = wakeup
        self._thread = threading.Thread(target=self._capture, daemon=True)

    def _capture(self) -> None:
        connection = getattr(self.app, "connection_for_read", self.app.connection)()
        with connection:
            self._receiver = self.app.events.Receiver(connection, handlers={"*": self.events.append})
            with self._receiver.consumer_context(wakeup=self._wakeup) as (own, _, _):
                while not self._receiver.should_stop:
                    with suppress(TimeoutError):
                        own.drain_events(timeout=0.1)
                    self._ready.set()  # not before: on Redis a consumer subscribes when it first waits

    def __enter__(self) -> Monitor:
        self._thread.start()
        assert self._ready.wait(20), "the monitor did not start"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._receiver.should_stop = True
        self._thread.join(10)

    def of(self, uuid: str) -> list[dict[str, Any]]:
        """The events of a task."""
        return [event for event in list(self.events) if event.get("uuid") == uuid]

    def types(self, uuid: str) -> list[str]:
        """Their types."""
        return [event["type"] for event in self.of(uuid)]

    def until(self, *types: str, uuid: str | None = None, where: Callable[[Any], bool] = lambda event: True) -> Any:
        """Wait for an event of one of these types; return it."""

        def found() -> list[dict[str, Any]]:
            mine = self.of(uuid) if uuid else list(self.events)
            return [event for event in mine if event["type"] in types and where(event)]

        try:
            until(found, f"{types} of {uuid}")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; there were {[event['type'] for event in self.events]}") from None
        return found()[0]
