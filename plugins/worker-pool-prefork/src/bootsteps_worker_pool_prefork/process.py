"""The pool's hold on one child."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from bootsteps import Job, Runner
from bootsteps_worker_pool_prefork.child import REPORT_MOST, Equipment, main
from bootsteps_worker_pool_prefork.frames import Frame, Inbox, pack_jobs
from bootsteps_worker_pool_prefork.hygiene import Descriptors, signals_held
from bootsteps_worker_pool_prefork.load import Load
from bootsteps_worker_pool_prefork.recycle import NEVER, Recycling
from bootsteps_worker_pool_prefork.shared import Claims, Slot

__all__ = ["Child"]


class Child:
    """A child process with its socket, its claims and what it was given. Making one forks it. Loop thread only."""

    def __init__(
        self,
        index: int,
        make_runner: Callable[[], Runner],
        descriptors: Descriptors,
        siblings: Iterable[int],
        recycling: Recycling = NEVER,
    ) -> None:
        #: Its place among the children, from 0; a replacement gets the same.
        self.index = index
        self._recycling = recycling
        self.load = Load()
        self.inbox = Inbox()
        #: Its runner has started.
        self.ready = False
        #: It was told to go, so its end is no surprise.
        self.told = False
        #: The job for whose hard limit it was killed.
        self.timed_out: Job | None = None
        #: It will say no more.
        self.deaf = False
        #: Everything of it was released.
        self.closed = False
        self._dismissed = False
        #: How many jobs it was given, and how many it has reported.
        self.given = self.reported = 0
        self.born = time.monotonic()
        self._unsent = bytearray()
        self._writer: int | None = None
        self._slot, self._claims = Slot(), Claims()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            mine = {theirs.fileno(), self._claims.reader}
            foreign = {*descriptors.foreign(mine), *siblings, self._socket.fileno(), self._claims.writer}
            self._fork(theirs, make_runner, sorted(foreign))
        except BaseException:
            self._release()
            raise
        finally:
            theirs.close()
        #: Readable when it talks.
        self.fd = self._socket.fileno()
        #: Readable when it has ended.
        self.ended = self._open_watch()

    def _fork(self, theirs: socket.socket, make_runner: Callable[[], Runner], foreign: list[int]) -> None:
        from billiard.context import ForkContext

        with signals_held() as mask:
            shared = self._claims, self._slot
            equipment = Equipment(os.getpid(), theirs, *shared, make_runner, foreign, mask, self._recycling)
            name = f"ForkPoolWorker-{self.index + 1}"  # `%i` of Celery counts from 1, the attribute from 0
            self._process = ForkContext().Process(target=main, args=(equipment,), name=name, daemon=True)
            self._process.__dict__["index"] = self.index  # where Celery's users look for it
            self._process.start()
        self.pid: int = self._process.pid

    def _open_watch(self) -> int:
        """Return a pidfd; elsewhere than on Linux billiard's pipe, which its own children can hold open."""
        try:
            return os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            return int(self._process.sentinel)

    def descriptors(self) -> list[int]:
        """Return all that the pool holds for this child."""
        writer = [] if self._writer is None else [self._writer]
        return [self.fd, self.ended, self._process.sentinel, self._claims.reader, self._claims.writer, *writer]

    def send(self, jobs: Sequence[Job]) -> None:
        """Write jobs that are on its load by now. What the socket does not take waits for `flush`."""
        self.given += len(jobs)
        self._claims.offer(job.seq for job in jobs)  # before the jobs, which are worth nothing without
        for at in range(0, len(jobs), REPORT_MOST):
            self._unsent += pack_jobs(jobs[at : at + REPORT_MOST])
        self.flush()

    def flush(self) -> bool:
        """Write what waits for the socket; False when it is full."""
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent)
                del self._unsent[:sent]
            if self._dismissed:
                self._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return False
        except OSError:  # it is dead, and will be noticed
            self._unsent.clear()
        return True

    @property
    def writer(self) -> int:
        """A second number of the socket, to wait until it can be written: event loops keep one callback for each."""
        if self._writer is None:
            self._writer = os.dup(self.fd)
        return self._writer

    @property
    def congested(self) -> bool:
        """There is something to be written."""
        return bool(self._unsent)

    def receive(self, scratch: memoryview) -> bool:
        """Read once what it says; False when it will say no more. Raises BlockingIOError when there is nothing now."""
        try:
            size = self._socket.recv_into(scratch)
        except ConnectionResetError:  # it died with unread jobs, and all that it said was read before
            return False
        self.inbox.feed(scratch[:size])
        return size > 0

    def drain(self, scratch: memoryview) -> list[Frame]:
        """Read all that it has said."""
        with suppress(BlockingIOError):
            while self.receive(scratch):
                pass
        return list(self.inbox.frames())

    def take_back(self) -> list[Job]:
        """Take from it the jobs that it has not started, oldest first."""
        jobs = [self.load.remove(seq) for seq in self._claims.take_back()]
        return [job for job in jobs if job is not None]

    def running(self) -> tuple[int, float] | None:
        """Return (seq, start in monotonic seconds) of the job that it runs now."""
        found = self._slot.read()
        return found if found is not None and found[0] in self.load.jobs else None

    def dismiss(self) -> None:
        """Let it finish what it has, and end."""
        self.told = self._dismissed = True
        self.flush()

    def kill(self, signum: int) -> None:
        """Send it a signal. It is our child and not waited for yet, so the pid is its own."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def end(self) -> str | None:
        """Return how it ended, for people; None while it lives. Waits for nobody else's children."""
        code = self._process.exitcode
        if code is None:
            gone = select.poll()
            gone.register(self.ended, select.POLLIN)
            return f"child {self.pid} ended, and something else took its exit status" if gone.poll(0) else None
        if code < 0:
            return f"child {self.pid} was killed by signal {-code} ({_signal_name(-code)})"
        return f"child {self.pid} exited with status {code}"

    def close(self) -> None:
        """Release everything, when it has ended."""
        sentinel = self._process.sentinel
        if self.ended != sentinel:
            os.close(self.ended)
        try:
            self._process.close()
        except ValueError:  # billiard believes it alive, since it did not get the exit status
            os.close(sentinel)
        self._release()

    def _release(self) -> None:
        self.closed = True
        if self._writer is not None:
            os.close(self._writer)
        self._socket.close()
        self._claims.close()
        self._slot.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"
