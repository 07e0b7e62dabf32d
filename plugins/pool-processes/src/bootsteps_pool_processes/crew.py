"""Keeps the children: as many as wanted, each replaced when it dies, none left at the end."""

from __future__ import annotations

import gc
import logging
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from bootsteps import Hub, Job, Runner, Timer, TimerEntry
from bootsteps_pool_processes.frames import FAILED, LEAVING, READY, Frame
from bootsteps_pool_processes.hygiene import Descriptors
from bootsteps_pool_processes.nature import Nature
from bootsteps_pool_processes.nursery import Nursery
from bootsteps_pool_processes.process import Child
from bootsteps_pool_processes.recycle import NEVER, Recycling

__all__ = ["Crew", "Customer"]

#: A child that dies before it was so old, without having run anything, died at its start.
YOUNG_S = 1.0
#: The pause before the second replacement in a row of one that died at its start; doubles up to the longest.
PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.8
#: After TERM, a child has so long before KILL; and after KILL before it is given up.
TERM_S, KILL_S = 0.5, 5.0
#: Bytes that are read from a child at once: what a batch of 32 outcomes takes, several times.
SCRATCH = 1 << 14
#: An idle child whose socket was closed has so long to end.
LEAVE_S = 2.0


class Customer(Protocol):
    """Whom the children work for."""

    def on_frames(self, child: Child, frames: Sequence[Frame[bytes]]) -> None:
        """Hear what a child says."""

    def on_end(self, child: Child, reason: str) -> None:
        """A child has ended. It can still be asked what it was running and what it never started."""


@dataclass(slots=True)
class _Place:
    """Where a child is to be."""

    index: int
    child: Child | None = None
    #: How many in a row died at their start.
    failures: int = 0
    #: Fills it later.
    entry: TimerEntry | None = None


class Crew:
    """The children. Loop thread only."""

    def __init__(
        self,
        hub: Hub,
        timer: Timer,
        nature: Nature,
        make_runner: Callable[[], Runner],
        customer: Customer,
        log: logging.Logger,
        announce: Callable[..., Any],
        recycling: Recycling = NEVER,
    ) -> None:
        self._hub, self._timer, self._nature, self._make_runner = hub, timer, nature, make_runner
        self._customer, self._log, self._announce = customer, log, announce
        self._recycling = recycling
        self._places: dict[int, _Place] = {}
        self._leaving: list[Child] = []
        self._stopping = False
        self._nursery: Nursery | None = None
        self._warned: set[str] = set()
        self._scratch = memoryview(bytearray(SCRATCH))

    @property
    def size(self) -> int:
        """How many children there are to be."""
        return len(self._places)

    @property
    def children(self) -> list[Child]:
        """Those that can be given work, or soon can be."""
        return [place.child for place in self._places.values() if place.child is not None]

    @property
    def everyone(self) -> list[Child]:
        """Those, and those that only finish their work."""
        return self.children + self._leaving

    def start(self, size: int) -> None:
        """Start so many children. Does not wait until they are ready."""
        self._stopping = False
        self._descriptors = Descriptors()
        gc.freeze()  # what there is now the children share, as long as no collector writes to it: also ours
        self.grow(size)

    def grow(self, n: int) -> None:
        """Start `n` more."""
        for _ in range(n):
            taken = {*self._places, *(child.index for child in self._leaving)}
            place = _Place(next(index for index in range(len(taken) + 1) if index not in taken))
            place.child = self._launch(place.index)
            self._places[place.index] = place

    def shrink(self, n: int) -> list[Child]:
        """Give up `n` places: vacant ones, idle ones, then those with least to do. The children still are to be
        dismissed by the caller, who may take their jobs back first."""

        def cost(place: _Place) -> tuple[float, int]:
            return (place.child.load.seconds if place.child else -1.0), -place.index

        dropped = sorted(self._places.values(), key=cost)[:n]
        for place in dropped:
            self._vacate(place)
            del self._places[place.index]
        leaving = [place.child for place in dropped if place.child is not None]
        self._leaving += leaving
        return leaving

    def dismiss(self) -> list[Child]:
        """Have every child replaced, and return them: the caller dismisses them, and may take their jobs back first.

        Where a child runs many jobs, and so may take long, its replacement starts now.
        """
        if self._nursery is not None:
            self._nursery.retire()  # what it has imported is old
            self._nursery = None
        leaving = [child for child in self.children if not child.dismissed]
        for child in leaving:
            child.told = True
            if not self._nature.single:
                self._relieve(child)
        return leaving

    def _launch(self, index: int) -> Child:
        if self._nature.start_method == "fork":
            self._warn_of_threads()
        siblings = [fd for child in self.everyone for fd in child.descriptors()]
        self._announce("worker_before_create_process", pool=self._customer)
        child = Child(
            index, self._nature, self._make_runner, self._descriptors, siblings, self._recycling, self._have_nursery()
        )
        self._hub.add_reader(child.fd, self._on_readable, child)
        self._hub.add_reader(child.ended, self._on_ended, child)
        child.overdue = self._timer.call_after(self._nature.start_limit_s, self._give_up, (child,))
        return child

    def _give_up(self, child: Child) -> None:
        """End a child that should long have been ready: else its place would stay empty, and nobody would know."""
        limit = f"{self._nature.start_limit_s:g} s (worker_proc_alive_timeout)"
        child.blame = f"child {child.pid} was killed: it was not ready after {limit}"
        child.kill(signal.SIGKILL)

    def _have_nursery(self) -> Nursery | None:
        """Return the process that forks the children, if this pool has one: a new one when it died."""
        if self._nature.start_method == "forkserver" and (self._nursery is None or not self._nursery.alive):
            self._close_nursery()
            self._nursery = Nursery(self._nature, self._make_runner, self._recycling)
        return self._nursery

    def _close_nursery(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None

    def _warn_of_threads(self) -> None:
        """A lock that another thread holds now is locked for ever in the child.

        A thread whose attribute `fork_safe` is true says that it holds none: it waits in the system, and no more.
        """
        threads = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
        others = {thread.name for thread in threads if not getattr(thread, "fork_safe", False)}
        if others - self._warned:
            names = ", ".join(sorted(others))
            self._log.warning("forking while other threads are alive (%s): a lock they hold stays locked there", names)
            self._warned |= others

    def give(self, child: Child, jobs: Sequence[Job]) -> None:
        """Write jobs to a child, now or as soon as its socket takes them."""
        child.send(jobs)
        self._await_socket(child)

    def end_jobs(self, child: Child, seqs: Sequence[int]) -> None:
        """Ask a child to end these."""
        child.end_jobs(seqs)
        self._await_socket(child)

    def _await_socket(self, child: Child) -> None:
        if child.congested:
            self._hub.add_writer(child.writer, self._on_writable, child)

    def _on_writable(self, child: Child) -> None:
        if not child.closed and child.flush():
            self._hub.remove(child.writer)

    def _on_readable(self, child: Child) -> None:
        if child.deaf:
            return
        try:
            alive = child.receive(self._scratch)
        except BlockingIOError:
            return
        self._hear(child, list(child.inbox.frames()))
        if not alive:
            self._deafen(child)
            child.kill(signal.SIGKILL)  # without its socket it is of no use; if it is ending anyway, this is nothing

    def _hear(self, child: Child, frames: list[Frame[bytes]]) -> None:
        for frame in frames:
            if frame.kind == READY:
                child.overdue.cancel()
            elif frame.kind == FAILED:
                text = frame.body.decode(errors="replace")
                self._log.error("child %s could not start its runner:\n%s", child.pid, text)
            elif frame.kind == LEAVING:
                child.told = True
                if not self._nature.single:
                    self._relieve(child)
                self._log.info("child %s is replaced: %s", child.pid, frame.body.decode(errors="replace"))
        if frames:
            self._customer.on_frames(child, frames)

    def _relieve(self, child: Child) -> None:
        """Put another in the place of one that finishes its work, which may take long."""
        place = self._places.get(child.index)
        if place is not None and place.child is child and not self._stopping:
            self._leaving.append(child)
            self._fill(place)

    def _on_ended(self, child: Child) -> None:
        reason = None if child.closed else child.end()
        if reason is None:
            return
        reason = child.blame or reason
        self._disconnect(child)
        place = self._places.get(child.index)
        if place is not None and place.child is child:
            place.child = None
        else:
            place = None
            self._leaving.remove(child)
        try:
            self._hear(child, child.drain(self._scratch))
            self._customer.on_end(child, reason)
        finally:
            child.close()
            if place is not None:
                self._replace(place, child, reason)

    def _disconnect(self, child: Child) -> None:
        child.overdue.cancel()
        self._deafen(child)
        self._hub.remove(child.ended)
        if child.congested:
            self._hub.remove(child.writer)

    def _deafen(self, child: Child) -> None:
        if not child.deaf:
            child.deaf = True
            self._hub.remove(child.fd)

    def _replace(self, place: _Place, child: Child, reason: str) -> None:
        """A child ended that was wanted: put another in its place."""
        if not child.told:
            self._log.error("%s", reason)
            self._announce("child_lost", pid=child.pid, reason=reason)
        if self._stopping:
            return
        young = not child.told and not child.reported and time.monotonic() - child.born < YOUNG_S
        place.failures = place.failures + 1 if young else 0
        if place.failures <= 1:
            self._fill(place)
        else:
            pause = min(PAUSE_S * 2 ** (place.failures - 2), LONGEST_PAUSE_S)
            place.entry = self._timer.call_after(pause, self._fill, (place,))

    def _fill(self, place: _Place) -> None:
        place.entry = None
        try:
            place.child = self._launch(place.index)
        except OSError as exc:
            self._log.error("no child could be started (%s); trying again in %s s", exc, LONGEST_PAUSE_S)
            place.entry = self._timer.call_after(LONGEST_PAUSE_S, self._fill, (place,))

    def _vacate(self, place: _Place) -> None:
        if place.entry is not None:
            place.entry.cancel()
            place.entry = None

    def stop(self, busy: Callable[[], bool], patience_s: float) -> None:
        """Wait up to so long until nothing is busy, then let all go. Those that do not go are killed."""
        self._wait(lambda: not busy() or not self.everyone, patience_s)
        self._stopping = True
        for child in self.shrink(self.size):
            child.dismiss()
        if not busy():
            self._wait(lambda: not self.everyone, LEAVE_S)
        self.terminate()

    def terminate(self) -> None:
        """End all at once."""
        self._stopping = True
        self.shrink(self.size)
        for signum, seconds in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            for child in self.everyone:
                child.told = True
                child.kill(signum)
            if self._wait(lambda: not self.everyone, seconds):
                self._close_nursery()
                return
        pids = ", ".join(str(child.pid) for child in self.everyone)
        self._log.error("the children %s do not end, not even by SIGKILL", pids)

    def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Listen to the children, and to nothing else, until `done()`; False when that took too long."""
        ends = time.monotonic() + seconds
        while not done():
            left = ends - time.monotonic()
            if left <= 0:
                return False
            self._listen(left)
        return True

    def _listen(self, seconds: float) -> None:
        calls: dict[int, Callable[[], None]] = {}
        poller = select.poll()

        def watch(fd: int, event: int, call: Callable[[Child], None], child: Child) -> None:
            poller.register(fd, event)
            calls[fd] = partial(call, child)

        for child in self.everyone:
            watch(child.ended, select.POLLIN, self._on_ended, child)
            if not child.deaf:
                watch(child.fd, select.POLLIN, self._on_readable, child)
            if child.congested:
                watch(child.writer, select.POLLOUT, self._on_writable, child)
        for fd, _ in poller.poll(max(1, int(seconds * 1000))):
            try:
                calls[fd]()
            except Exception:  # of whoever hears the outcomes; the children are to be ended all the same
                self._log.exception("outcomes could not be settled while the pool stops")
