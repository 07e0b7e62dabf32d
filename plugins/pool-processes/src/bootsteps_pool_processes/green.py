"""What a child does that runs each job in a greenlet of its own; gevent and eventlet differ in how one is reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from bootsteps import Runner
from bootsteps_pool_processes.desk import Desk
from bootsteps_pool_processes.frames import Record, reason
from bootsteps_pool_processes.nature import Equipment

__all__ = ["Greens", "green"]

#: A job that is to end, and caught what ends it, gets it again so often.
AGAIN_S = 0.05
#: What a socket is asked for at one time.
MOST = 1 << 18


class Greens(Protocol):
    """A library of greenlets that has patched the standard library: sockets, locks and sleep let others run."""

    def spawn(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call in a new greenlet, soon."""

    def current(self) -> Any:
        """Return the greenlet that asks."""

    def throw(self, greenlet: Any, error: BaseException) -> None:
        """Raise in another greenlet, where it waits."""

    def call_later(self, secs: float, call: Callable[..., Any], *args: Any) -> Callable[[], object]:
        """Call in the library's own loop, where nothing may wait; returns what prevents it."""


class End(BaseException):
    """Ends a job; no task is expected to catch it."""


def green(equipment: Equipment, runner: Runner, greens: Greens) -> None:
    """Run until the pool closes the socket, or the child's share is used up."""
    _Child(equipment, runner, greens).run()


class _Child:
    """The main greenlet's part of a child, and that of the others."""

    def __init__(self, equipment: Equipment, runner: Runner, greens: Greens) -> None:
        self._socket = equipment.socket
        self._make_runner = equipment.make_runner
        #: Those that can share what a runner takes at its start say so.
        self._another: Callable[[], Runner] | None = getattr(runner, "another", None)
        self._greens = greens
        #: Each greenlet takes one of these, or makes one: a runner runs one job at a time.
        self._runners: list[Runner] = [runner]
        self._desk = Desk(equipment)
        self._jobs: set[int] = set()
        #: Those that have begun: their greenlet.
        self._running: dict[int, Any] = {}
        #: Those that are to end.
        self._ending: set[int] = set()
        #: Nothing more comes.
        self._over = False
        self._news = threading.Event()

    def run(self) -> None:
        self._greens.spawn(self._listen)
        while not (self._over and not self._jobs and not self._desk.restless):
            self._news.wait()
            self._news.clear()
            done, self._desk.done = self._desk.done, []
            news = self._desk.report(done)
            if news:
                self._socket.sendall(news)

    def _listen(self) -> None:
        while data := self._receive():
            jobs, ends = self._desk.take(data)
            for job in jobs:
                self._jobs.add(job[0])
                self._greens.spawn(self._run, *job)
            for seq in ends:
                self._end(seq)
            self._tell()
        self._over = True
        self._news.set()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(MOST)
        except ConnectionResetError:
            return b""

    def _run(self, seq: int, payload: bytes, soft_limit_s: float) -> None:
        started = time.monotonic()
        record = self._try(seq, payload, soft_limit_s)
        self._jobs.discard(seq)
        if seq in self._ending:
            self._ending.discard(seq)
            record = Record(seq, 0.0, True, b"it was killed")
        self._desk.finish(record._replace(runtime=time.monotonic() - started))
        self._tell()

    def _try(self, seq: int, payload: bytes, soft_limit_s: float) -> Record:
        """Run a job and store its result, whatever happens in it."""
        cancel = None
        try:
            runner = self._take_runner()
            if soft_limit_s:
                cancel = self._greens.call_later(soft_limit_s, self._warn, seq, runner, soft_limit_s)
            self._running[seq] = self._greens.current()
            if seq in self._ending:
                raise End
            result = runner.run(payload)
            if seq not in self._ending:  # else its result is none, and the runner is dropped with it
                runner.flush()
                self._runners.append(runner)
            return Record(seq, 0.0, False, result)
        except BaseException as exc:  # whatever a task lets out: the child lives on
            return Record(seq, 0.0, True, reason("the runner raised", exc))
        finally:
            self._running.pop(seq, None)
            if cancel is not None:
                cancel()

    def _take_runner(self) -> Runner:
        if self._runners:
            return self._runners.pop()
        if self._another is not None:
            return self._another()
        runner = self._make_runner()
        runner.start()
        return runner

    def _warn(self, seq: int, runner: Runner, limit_s: float) -> None:
        """Raise in a job, at its soft limit, what its runner says."""
        greenlet = self._running.get(seq)
        if greenlet is None:
            return
        interrupt: Callable[[float], None] = getattr(runner, "interrupt", _interrupt)
        try:
            interrupt(limit_s)
        except BaseException as exc:
            self._greens.throw(greenlet, exc.with_traceback(None))

    def _end(self, seq: int) -> None:
        """Kill a job, again and again until it has ended."""
        if seq not in self._jobs:
            return
        self._ending.add(seq)
        self._greens.call_later(AGAIN_S, self._end, seq)
        greenlet = self._running.get(seq)
        if greenlet is not None:
            self._greens.throw(greenlet, End())

    def _tell(self) -> None:
        if self._desk.leaving is not None:
            self._over = True
        if self._desk.restless or self._over:
            self._news.set()


def _interrupt(limit_s: float) -> None:
    raise TimeoutError(f"the soft time limit of {limit_s:g} s is over")
