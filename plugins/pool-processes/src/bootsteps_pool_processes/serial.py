"""What a child does that runs one job at a time: job after job, reported in batches."""

from __future__ import annotations

import socket
import time
from collections import deque

from bootsteps import Runner
from bootsteps_pool_processes.frames import LEAVING, Record, pack, pack_outcomes, reason, unpack_jobs
from bootsteps_pool_processes.limits import run_limited
from bootsteps_pool_processes.nature import Equipment
from bootsteps_pool_processes.recycle import Share
from bootsteps_pool_processes.tray import Tray

__all__ = ["REPORT_MOST", "serial"]

#: A finished job waits at most so long for others before it is reported (unless the one after it runs longer).
REPORT_AFTER_S = 0.002
#: And for at most so many others: half of what a child may hold, so that the pool can refill in the meantime.
REPORT_MOST = 32


def serial(equipment: Equipment, runner: Runner) -> None:
    """Run until the pool closes the socket, or the child's share is used up."""
    _Work(equipment, runner).run()


class _Work:
    """The child's loop."""

    def __init__(self, equipment: Equipment, runner: Runner) -> None:
        self._socket = equipment.socket
        self._claims = equipment.claims
        self._slot = equipment.slot
        self._runner = runner
        self._share = Share(equipment.recycling)
        self._tray = Tray()
        #: Of the tray, which is filled again only when all of them are gone.
        self._queue: deque[tuple[int, memoryview, float]] = deque()
        #: The job that was claimed last, if it was not the next in the queue.
        self._token: int | None = None
        self._done: list[Record] = []
        #: When the first of them was finished.
        self._since = 0.0

    def run(self) -> None:
        while self._queue or self._receive():
            seq, payload, soft_limit_s = self._queue.popleft()
            started = time.monotonic()
            self._slot.begin(seq, started)  # before the claim: what is claimed and not reported is in the slot
            if self._claim(seq):
                self._execute(seq, bytes(payload), soft_limit_s, started)
                why = self._share.used_up()
                if why is not None:  # what was not claimed is taken back by the pool
                    self._report()
                    self._socket.sendall(pack(LEAVING, 0, why.encode()))
                    return
            else:
                self._slot.clear()

    def _claim(self, seq: int) -> bool:
        """Tell whether this job may start. Those that were taken back are skipped: their number never comes."""
        if self._token is None:
            self._token = self._claims.claim()
        if self._token is None:  # numbers come before their jobs, so all that are here were taken back
            self._queue.clear()
            if not self._done:
                self._socket.sendall(pack_outcomes([]))  # the pool gives nothing more before it hears something
        elif self._token == seq:
            self._token = None
            return True
        return False

    def _execute(self, seq: int, payload: bytes, soft_limit_s: float, started: float) -> None:
        try:
            runner = self._runner
            result = run_limited(runner, payload, soft_limit_s) if soft_limit_s else runner.run(payload)
            lost = False
        except BaseException as exc:  # whatever a task lets out: the child lives on
            lost, result = True, reason("the runner raised", exc)
        now = time.monotonic()
        if not self._done:
            self._since = now
        self._done.append(Record(seq, now - started, lost, result))
        if len(self._done) >= REPORT_MOST or now - self._since >= REPORT_AFTER_S:
            self._report()

    def _report(self) -> None:
        """Make durable what was run, then tell the pool."""
        self._slot.clear()
        if not self._done:
            return
        try:
            self._runner.flush()
        except BaseException as exc:
            why = reason("the results could not be stored:", exc)
            self._done = [record._replace(lost=True, payload=why) for record in self._done]
        done, self._done = self._done, []
        self._socket.sendall(pack_outcomes(done))

    def _receive(self) -> bool:
        """Wait for jobs; False when there will be none. Does not wait with anything unreported."""
        while not self._queue:
            try:
                more = self._tray.receive(self._socket, socket.MSG_DONTWAIT if self._done else 0)
            except BlockingIOError:
                self._report()
                continue
            if not more:
                self._report()
                return False
            for frame in self._tray.frames():
                self._queue.extend(unpack_jobs(frame))
        return True
