"""The pool's hold on one child."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from bootsteps import Job, Runner, TimerEntry
from bootsteps_pool_processes.child import Birth
from bootsteps_pool_processes.frames import Frame, Inbox, pack_end, pack_jobs
from bootsteps_pool_processes.hygiene import Descriptors
from bootsteps_pool_processes.launch import Tools, fork, nurse, spawn
from bootsteps_pool_processes.load import Load, WideLoad
from bootsteps_pool_processes.nature import Nature
from bootsteps_pool_processes.nursery import Nursery
from bootsteps_pool_processes.recycle import NEVER, Recycling
from bootsteps_pool_processes.shared import Claims, Slot, memory

__all__ = ["Child"]

#: So many pieces the system takes at once (IOV_MAX).
PIECES_MOST = 1024


class Child:
    """A child process with its socket, its claims and what it was given. Making one starts it. Loop thread only."""

    def __init__(
        self,
        index: int,
        nature: Nature,
        make_runner: Callable[[], Runner],
        descriptors: Descriptors,
        siblings: Iterable[int],
        recycling: Recycling = NEVER,
        nursery: Nursery | None = None,
    ) -> None:
        #: Its place among the children, from 0; a replacement gets the same.
        self.index = index
        self._nature = nature
        self.load: Load | WideLoad = Load() if nature.single else WideLoad()
        self.inbox = Inbox()
        #: Its runner has started.
        self.ready = False
        #: It was told to go, so its end is no surprise.
        self.told = False
        #: The jobs that are being ended for their hard limit, by number.
        self.timed_out: dict[int, Job] = {}
        #: Why the pool kills it, if what the system says of its end is not the reason.
        self.blame: str | None = None
        #: Ends it if it is not ready in time.
        self.overdue: TimerEntry
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
        self._slot: Slot | None = None
        self._claims = Claims()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            mine = {theirs.fileno(), self._claims.reader}
            foreign = {*descriptors.foreign(mine), *siblings, self._socket.fileno(), self._claims.writer}
            self._launch(theirs, make_runner, recycling, sorted(foreign), nursery)
        except BaseException:
            self._release()
            raise
        finally:
            theirs.close()
        self.pid: int = self._process.pid
        #: Readable when it talks.
        self.fd = self._socket.fileno()
        #: Readable when it has ended.
        self.ended = self._open_watch()

    @property
    def single(self) -> bool:
        """It runs one job at a time."""
        return self._nature.single

    def _launch(
        self,
        theirs: socket.socket,
        make_runner: Callable[[], Runner],
        recycling: Recycling,
        foreign: list[int],
        nursery: Nursery | None,
    ) -> None:
        def make(mask: Iterable[int]) -> Birth:
            return Birth(os.getpid(), self.index, self._nature, make_runner, mask)

        if self._nature.start_method == "fork":
            self._slot = Slot()
            self._process = fork(make, Tools(theirs, self._claims, self._slot, -1, recycling), foreign)
            return
        with memory(bytes(16)) as fd:
            self._slot = Slot(fd)
            tools = Tools(theirs, self._claims, self._slot, fd, recycling)
            self._process = spawn(make, tools) if nursery is None else nurse(nursery, self.index, tools)

    def _open_watch(self) -> int:
        """Return a pidfd; elsewhere than on Linux billiard's pipe, which its own children can hold open."""
        try:
            return os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            sentinel = self._process.sentinel
            if sentinel is None:
                raise
            return sentinel

    def descriptors(self) -> list[int]:
        """Return all that the pool holds for this child."""
        writer = [] if self._writer is None else [self._writer]
        sentinel = [] if self._process.sentinel is None else [self._process.sentinel]
        return [self.fd, self.ended, self._claims.reader, self._claims.writer, *sentinel, *writer]

    def send(self, jobs: Sequence[Job]) -> None:
        """Write jobs that are on its load by now. What the socket does not take waits for `flush`."""
        self.given += len(jobs)
        self._claims.offer(job.seq for job in jobs)  # before the jobs, which are worth nothing without
        self._write(pack_jobs(jobs))

    def _write(self, pieces: Sequence[bytes]) -> None:
        """Write, without a copy if the socket takes it all; what it does not take waits for `flush`."""
        sent = 0
        if not self._unsent and len(pieces) <= PIECES_MOST:
            try:
                sent = self._socket.sendmsg(pieces)
            except BlockingIOError:
                pass
            except OSError:  # it is dead, and will be noticed
                return
            if sent == sum(map(len, pieces)):
                return
        self._unsent += b"".join(pieces)[sent:]
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

    def drain(self, scratch: memoryview) -> list[Frame[bytes]]:
        """Read all that it has said."""
        with suppress(BlockingIOError):
            while self.receive(scratch):
                pass
        return list(self.inbox.frames())

    def take_back(self) -> list[Job]:
        """Take from it the jobs that it has not started, oldest first."""
        jobs = [self.load.remove(seq) for seq in self._claims.take_back()]
        return [job for job in jobs if job is not None]

    def runs(self) -> Mapping[int, float]:
        """Return what it runs now: the start (monotonic seconds) of each job, by number."""
        if isinstance(self.load, WideLoad):
            return self.load.given
        found = self._slot.read() if self._slot is not None else None
        return {found[0]: found[1]} if found is not None and found[0] in self.load.jobs else {}

    def end_jobs(self, seqs: Sequence[int]) -> None:
        """Ask it to end these; what the socket does not take waits for `flush`."""
        self._unsent += pack_end(seqs)
        self.flush()

    @property
    def dismissed(self) -> bool:
        """It finishes what it has, and ends."""
        return self._dismissed

    def dismiss(self) -> None:
        """Let it finish what it has, and end."""
        self.told = self._dismissed = True
        self.flush()

    def kill(self, signum: int) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            if self._nature.start_method == "forkserver":  # another process waits for it, and then the pid is free
                signal.pidfd_send_signal(self.ended, signum)
            else:
                os.kill(self.pid, signum)

    def end(self) -> str | None:
        """Return how it ended, for people; None while it lives. Waits for nobody else's children."""
        code = self._process.exit_code()
        if code is None:
            gone = select.poll()
            gone.register(self.ended, select.POLLIN)
            return f"child {self.pid} ended, and something else took its exit status" if gone.poll(0) else None
        if code < 0:
            return f"child {self.pid} was killed by signal {-code} ({_signal_name(-code)})"
        return f"child {self.pid} exited with status {code}"

    def close(self) -> None:
        """Release everything, when it has ended."""
        if self.ended != self._process.sentinel:
            os.close(self.ended)
        self._process.close()
        self._release()

    def _release(self) -> None:
        self.closed = True
        if self._writer is not None:
            os.close(self._writer)
        self._socket.close()
        self._claims.close()
        if self._slot is not None:
            self._slot.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"
