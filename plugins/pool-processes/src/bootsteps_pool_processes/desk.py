"""What a child that runs many jobs at one time does with what comes and goes; its loop is another's affair."""

from __future__ import annotations

from bootsteps_pool_processes.frames import END, LEAVING, Inbox, Record, pack, pack_outcomes, unpack_end, unpack_jobs
from bootsteps_pool_processes.nature import Equipment
from bootsteps_pool_processes.recycle import Share

__all__ = ["Desk"]


class Desk:
    """Takes what the pool sends, and keeps what the pool is to be told."""

    def __init__(self, equipment: Equipment) -> None:
        self._claims = equipment.claims
        self._inbox = Inbox()
        self._share = Share(equipment.recycling)
        #: The number that was claimed last, if its job has not come.
        self._token: int | None = None
        #: Finished and not reported.
        self.done: list[Record] = []
        #: Why this child goes; nothing new is started then.
        self.leaving: str | None = None
        self._said = False

    def take(self, data: bytes) -> tuple[list[tuple[int, bytes, float]], list[int]]:
        """Return the jobs (seq, payload, soft limit) that are to start now, and the numbers of those to be ended."""
        self._inbox.feed(data)
        jobs: list[tuple[int, bytes, float]] = []
        ends: list[int] = []
        for frame in self._inbox.frames():
            if frame.kind == END:
                ends += unpack_end(frame)
            else:
                jobs += [job for job in unpack_jobs(frame) if self._may_start(job[0])]
        return jobs, ends

    def _may_start(self, seq: int) -> bool:
        """Claim a job. Those that the pool took back are skipped: their number never comes."""
        if self.leaving is not None:
            return False
        if self._token is None:
            self._token = self._claims.claim()
        if self._token != seq:
            return False
        self._token = None
        self.leaving = self._share.count()
        return True

    def finish(self, record: Record) -> None:
        """Keep what became of a job until it is reported."""
        self.done.append(record)
        self.leaving = self.leaving or self._share.memory()

    @property
    def restless(self) -> bool:
        """There is something to tell."""
        return bool(self.done) or (self.leaving is not None and not self._said)

    def report(self, done: list[Record], lost: bytes = b"") -> bytes:
        """Return what to send: outcomes (all lost, if there is a reason), and that this child goes."""
        if lost:
            done = [record._replace(lost=True, payload=lost) for record in done]
        news = b""
        if self.leaving is not None and not self._said:
            self._said = True
            news = pack(LEAVING, 0, self.leaving.encode())
        return (pack_outcomes(done) if done else b"") + news
