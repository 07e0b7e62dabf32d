"""What a child does: an event loop on which every job is a task."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from bootsteps import AsyncRunner
from bootsteps_pool_processes.desk import Desk
from bootsteps_pool_processes.frames import Record, reason
from bootsteps_pool_processes.nature import Equipment
from bootsteps_pool_processes.wide import CHILD_MOST
from bootsteps_worker_pool_asyncio.steered import Steered

__all__ = ["work"]

#: A job that is to end, and caught its cancellation, is cancelled again so often.
AGAIN_S = 0.05
#: What a socket is asked for at one time.
MOST = 1 << 18


def work(equipment: Equipment, runner: AsyncRunner) -> None:
    """Run until the pool closes the socket, or the child's share is used up."""
    asyncio.run(_Child(equipment, runner).run())


class _Child:
    """The event loop's part of a child."""

    def __init__(self, equipment: Equipment, runner: AsyncRunner) -> None:
        self._socket = equipment.socket
        self._socket.setblocking(False)
        self._runner = runner
        self._desk = Desk(equipment)
        self._running: dict[int, Steered[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Numbers of the jobs that are to end.
        self._ending: set[int] = set()
        #: Nothing more comes; and what came is done.
        self._over, self._finished = asyncio.Event(), False
        self._news = asyncio.Event()
        #: Stores results while the loop turns; one at a time.
        self._storing = ThreadPoolExecutor(1, "storing")

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(CHILD_MOST, "task"))  # the pool sets the bounds
        reporting = asyncio.create_task(self._report())
        self._loop.add_reader(self._socket.fileno(), self._on_readable)
        await self._over.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._finished = True
        self._news.set()
        await reporting

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(MOST)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            self._over.set()
            return
        jobs, ends = self._desk.take(data)
        for seq, payload, soft_limit_s in jobs:
            steered = self._running[seq] = Steered(self._runner.run_async(payload))
            task = self._loop.create_task(self._run(seq, payload, steered, soft_limit_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for seq in ends:
            self._end(seq)
        self._tell()

    def _end(self, seq: int) -> None:
        """Cancel a job, again and again until it has ended."""
        steered = self._running.get(seq)
        if steered is not None:
            self._ending.add(seq)
            steered.cancel()
            self._loop.call_later(AGAIN_S, self._end, seq)

    async def _run(self, seq: int, payload: bytes, steered: Steered[bytes], soft_limit_s: float) -> None:
        started = time.monotonic()
        alarm = self._loop.call_later(soft_limit_s, self._warn, seq, payload, soft_limit_s) if soft_limit_s else None
        try:
            record = Record(seq, 0.0, False, await steered)
        except BaseException as exc:  # whatever a task lets out: the child lives on
            record = Record(seq, 0.0, True, reason("the runner raised", exc))
        if alarm is not None:
            alarm.cancel()
        del self._running[seq]
        if seq in self._ending:
            self._ending.discard(seq)
            record = Record(seq, 0.0, True, b"it was cancelled")
        self._desk.finish(record._replace(runtime=time.monotonic() - started))
        self._tell()

    def _warn(self, seq: int, payload: bytes, limit_s: float) -> None:
        """Raise in a job, at its soft limit."""
        if seq in self._running:
            self._running[seq].throw(self._runner.overdue(payload, limit_s))

    def _tell(self) -> None:
        if self._desk.restless:
            self._news.set()
        if self._desk.leaving is not None:
            self._over.set()

    async def _report(self) -> None:
        """Make durable what was run, then tell the pool; what is finished in the meantime goes next."""
        while True:
            await self._news.wait()
            self._news.clear()
            done, self._desk.done = self._desk.done, []
            lost = await self._flush() if done else b""
            await self._loop.sock_sendall(self._socket, self._desk.report(done, lost))
            if self._finished and not self._desk.done:
                return

    async def _flush(self) -> bytes:
        """Store results; return why that failed, empty if it did not."""
        try:
            await self._loop.run_in_executor(self._storing, self._runner.flush)
        except BaseException as exc:
            return reason("the results could not be stored:", exc)
        return b""
