"""What a pool child does with a job: decode the body, run the task, store the result."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any

from bootsteps_consumer_tasks.envelope import Envelope, Plain, unpack
from bootsteps_consumer_tasks.outcome import Report
from bootsteps_tasks import App, Context, Ending, InvalidMessage, Run, RunSettings, Task, decode_body
from bootsteps_tasks.canvas.chords import settle
from bootsteps_tasks.canvas.following import Following
from bootsteps_tasks.errors import SoftTimeLimitExceeded

__all__ = ["TaskRunner"]

log = logging.getLogger("worker.Requests")
#: Longest repr of an exception in a log line.
ERROR_CHARS = 1024


class TaskRunner:
    """Runs the tasks of an application. Implements `bootsteps.InterruptibleRunner` and `bootsteps.AsyncRunner`.

    Lives in one pool child, and runs one task after the other by `run`, or many at one time by `run_async`.
    """

    def __init__(self, app: App, hostname: str = "") -> None:
        self._app = app
        self._hostname = hostname
        #: Whether a task's start is to be stored.
        self._tracked: dict[Task[..., Any], bool] = {}
        self._settings: RunSettings | None = None
        #: Results that are not stored yet, by the URL of the task's own backend (None: the application's).
        self._unstored: dict[str | None, tuple[Task[..., Any] | None, list[Mapping[str, Any]]]] = {}
        #: What is to be done when they are.
        self._following: list[Following] = []
        self._in_task = False
        #: The soft limit of the present task, when it is over; and the one that the task got to know.
        self._over: float | None = None
        self._told: float | None = None
        #: The soft limits that tasks of `run_async` got to know, by the identity of their payloads.
        self._overdue: dict[int, float] = {}

    def start(self) -> None:
        self._accept = frozenset(self._app.conf.accept_content)
        self._app.listen()
        self._app.hooks.announce("worker_process_init", hostname=self._hostname, app=self._app)

    def stop(self) -> None:
        self.flush()
        self._app.hooks.announce("worker_process_shutdown", pid=os.getpid(), exitcode=0)
        self._app.close()

    def run(self, payload: bytes) -> bytes:
        self._begin()
        report = self._trace(unpack(payload))
        report.soft_limit_s = self._told
        return report.pack()

    def _begin(self) -> None:
        self._over = self._told = None

    def _trace(self, envelope: Envelope | Plain) -> Report:
        run, task, context = self._prepare(envelope)
        if envelope.verdict is not None:
            return self._conclude(run, task, context, envelope, *envelope.verdict)
        with run.context:
            try:
                self._decode(envelope, context)
                run.begin()
                ending = run.succeeded(self._call(run))
            except BaseException as exc:  # a SystemExit in a task is that task's failure, not the child's end
                ending = run.failed(exc)
        return self._keep(task, ending)

    async def run_async(self, payload: bytes) -> bytes:
        """Run one task of several at one time. Cancelling it interrupts the task, and nothing is kept of it then."""
        import asyncio  # not in a worker's start, and then in each child: only coroutines need it

        envelope = unpack(payload)
        if envelope.verdict is not None:
            return self._trace(envelope).pack()
        run, task, context = self._prepare(envelope)
        with run.context:
            try:
                self._decode(envelope, context)
                run.begin()
                ending = run.succeeded(await self._call_async(run, task))
            except asyncio.CancelledError as exc:
                if _cancelled():
                    raise
                ending = run.failed(exc)  # something that the task awaited was cancelled, and not the task
            except BaseException as exc:
                ending = run.failed(exc)
            finally:
                told = self._overdue.pop(id(payload), None)
        report = self._keep(task, ending)
        report.soft_limit_s = told
        return report.pack()

    async def _call_async(self, run: Run, task: Task[..., Any] | None) -> Any:
        """Await a coroutine here; anything else runs in a thread, where it stops nobody."""
        if task is not None and inspect.iscoroutinefunction(task.run):
            return await run.call()
        from bootsteps_consumer_tasks.in_thread import call_in_thread

        result = await call_in_thread(run.call)
        return await result if inspect.isawaitable(result) else result

    def overdue(self, payload: bytes, limit_s: float) -> BaseException:
        """Return what the pool raises in the task; `payload` is the very object that `run_async` got."""
        self._overdue[id(payload)] = limit_s
        return SoftTimeLimitExceeded(limit_s)

    def another(self) -> TaskRunner:
        """Return a runner for one more job at the same time, which shares what this one took at its start."""
        made = TaskRunner(self._app, self._hostname)
        made._accept = self._accept
        return made

    def _conclude(
        self,
        run: Run,
        task: Task[..., Any] | None,
        context: Context,
        envelope: Envelope | Plain,
        state: str,
        error: Exception,
    ) -> Report:
        """End a task as the parent decided, and let those know that depend on it."""
        with run.context:
            try:
                self._decode(envelope, context)
            except InvalidMessage:
                log.warning("Task %s[%s]: nobody who depends on it can be told", context.task, context.id)
            return self._keep(task, run.failed(error, state))

    def interrupt(self, limit_s: float) -> None:
        """Raise in the task; what happens before and after it is the worker's own, and not to be torn."""
        self._over = limit_s
        if self._in_task:
            raise SoftTimeLimitExceeded(limit_s)

    def flush(self) -> None:
        """Store the results of all tasks since the last flush, in one batch for each backend."""
        unstored, self._unstored = self._unstored, {}  # tasks that end in the meantime are the next flush's
        following, self._following = self._following, []
        try:
            for url in list(unstored):
                task, metas = unstored[url]
                (self._app.backend if task is None else self._app.backend_of(task)).store(metas)
                del unstored[url]
            if following:
                settle(self._app, following)
                following = []
        finally:
            for url, (task, metas) in unstored.items():  # it failed: they are the next flush's, too
                self._unstored.setdefault(url, (task, []))[1].extend(metas)
            self._following += following

    def _prepare(self, envelope: Envelope | Plain) -> tuple[Run, Task[..., Any] | None, Context]:
        context = envelope.context()
        task = self._app.tasks.get(context.task or "")
        tracked = None
        if task is not None:
            tracked = self._tracked.get(task)
            if tracked is None:  # settings are not read again for each run: that takes 3 µs
                tracked = self._tracked[task] = bool(task.track_started)
        if self._settings is None:
            self._settings = RunSettings.of(self._app)
        return Run(self._app, task, context, tracked, self._settings), task, context

    def _decode(self, envelope: Envelope | Plain, context: Context) -> None:
        context.args, context.kwargs, embed = decode_body(*envelope.content(), self._accept)
        context.with_embed(embed)

    def _call(self, run: Run) -> Any:
        """Call the task, which `interrupt` reaches only here."""
        try:
            self._in_task = True
            if self._over is not None:
                raise SoftTimeLimitExceeded(self._over)
            return run.call()
        finally:
            self._in_task, self._told = False, self._over

    def _keep(self, task: Task[..., Any] | None, ending: Ending) -> Report:
        """Keep what is to be stored for `flush`, and return what the parent gets to know."""
        if ending.meta is not None:
            url = task.backend if task is not None else None
            self._unstored.setdefault(url, (task, []))[1].append(ending.meta)
        if ending.following is not None:
            self._unstored.setdefault(None, (None, []))[1].extend(ending.following.metas)
            self._following.append(ending.following)
        if ending.state == "SUCCESS":
            return Report("SUCCESS", _short(ending.value, ERROR_CHARS if task is None else task.resultrepr_maxsize))
        longest = ERROR_CHARS
        text = str(ending.value) if ending.state in ("RETRY", "IGNORED") else _short(ending.value, longest)
        if ending.state in ("REQUEUED", "REJECTED"):
            text = str(ending.value.reason)
        cause = ""
        if ending.state in ("RETRY", "REJECTED"):
            cause = _short(ending.value.exc if ending.state == "RETRY" else ending.value, ERROR_CHARS)
        return Report(ending.state, text, ending.traceback, cause=cause)


def _cancelled() -> bool:
    """Tell whether the present asyncio task is to end."""
    import asyncio

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _short(value: Any, limit: int) -> str:
    try:
        text = repr(value)
    except Exception as exc:
        text = f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."
