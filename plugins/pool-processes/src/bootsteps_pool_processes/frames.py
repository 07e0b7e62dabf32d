"""What travels between the pool and a child: frames of many jobs or many outcomes, each with its length in front."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from bootsteps import Job, Outcome
from bootsteps_pool_processes.limits import capped

__all__ = ["END", "FAILED", "JOBS", "JOBS_MOST", "LEAVING", "OUTCOMES", "READY", "Frame", "Inbox", "Record", "reason"]

Body = TypeVar("Body", bytes, memoryview)

#: Pool to child: jobs to run.
JOBS = 1
#: Child to pool: its runner has started.
READY = 2
#: Child to pool: what became of some jobs.
OUTCOMES = 3
#: Child to pool: its runner did not start; the body is the traceback.
FAILED = 4
#: Child to pool: it has used up its share, has reported everything and ends; the body says why.
LEAVING = 5
#: Pool to child: end these running jobs.
END = 6

#: Jobs in one frame: a child takes so many at once, and leaves the others in its socket.
JOBS_MOST = 8

#: Kind, number of entries, bytes that follow.
HEADER = struct.Struct("<BIQ")
#: Of a job: seq, soft limit, length; of an outcome: seq, runtime, lost, length.
JOB, OUTCOME, SEQ = struct.Struct("<QdQ"), struct.Struct("<Qd?Q"), struct.Struct("<Q")


class Frame(NamedTuple, Generic[Body]):
    """One message as it came."""

    kind: int
    #: How many jobs or outcomes are in it.
    entries: int
    body: Body


class Record(NamedTuple):
    """What a child tells of one job."""

    seq: int
    #: Seconds.
    runtime: float
    #: The payload is the reason why there is none.
    lost: bool
    payload: bytes


def pack(kind: int, count: int, *parts: bytes) -> bytes:
    """Return one frame."""
    return b"".join((HEADER.pack(kind, count, sum(map(len, parts))), *parts))


def pack_jobs(jobs: Sequence[Job]) -> list[bytes]:
    """Return frames of jobs, in pieces: in each frame a table of (seq, soft limit, length), then the payloads."""
    pieces: list[bytes] = []
    for at in range(0, len(jobs), JOBS_MOST):
        some = jobs[at : at + JOBS_MOST]
        payloads = [job.payload for job in some]
        table = [JOB.pack(job.seq, capped(job.soft_time_limit_s), len(job.payload)) for job in some]
        size = len(some) * JOB.size + sum(map(len, payloads))
        pieces.append(b"".join((HEADER.pack(JOBS, len(some), size), *table)))
        pieces += payloads
    return pieces


def unpack_jobs(frame: Frame[Body]) -> list[tuple[int, Body, float]]:
    """Return (seq, payload, soft limit) of each job; a limit of 0 is none. A payload is a part of the frame's body."""
    at = JOB.size * frame.entries
    jobs = []
    for seq, soft_limit_s, size in JOB.iter_unpack(frame.body[:at]):
        jobs.append((seq, frame.body[at : at + size], soft_limit_s))
        at += size
    return jobs


def pack_outcomes(records: Sequence[Record]) -> bytes:
    """Return a frame of records: a table of (seq, runtime, lost, length), then the payloads."""
    table = [OUTCOME.pack(r.seq, r.runtime, r.lost, len(r.payload)) for r in records]
    return pack(OUTCOMES, len(records), *table, *[r.payload for r in records])


def unpack_outcomes(frame: Frame[bytes], pid: int) -> list[Outcome]:
    """Return the outcomes that the child `pid` reports."""
    at = OUTCOME.size * frame.entries
    outcomes = []
    for seq, runtime, lost, size in OUTCOME.iter_unpack(frame.body[:at]):
        payload = frame.body[at : at + size]
        at += size
        if lost:
            outcomes.append(Outcome(seq, b"", payload.decode(errors="replace"), runtime, pid))
        else:
            outcomes.append(Outcome(seq, payload, None, runtime, pid))
    return outcomes


def pack_end(seqs: Sequence[int]) -> bytes:
    """Return a frame that ends these jobs."""
    return pack(END, len(seqs), *map(SEQ.pack, seqs))


def unpack_end(frame: Frame[bytes]) -> tuple[int, ...]:
    """Return the jobs to be ended."""
    return tuple(seq for (seq,) in SEQ.iter_unpack(frame.body))


def reason(what: str, exc: BaseException) -> bytes:
    """Return why a job has no result, as a record's payload."""
    return f"{what} {type(exc).__name__}: {exc}".encode(errors="replace")


class Inbox:
    """Makes frames of the bytes that arrive, however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> None:
        """Take what was received."""
        self._buffer += data

    def frames(self) -> Iterator[Frame[bytes]]:
        """Take out every frame that is complete."""
        at = 0
        try:
            while len(self._buffer) - at >= HEADER.size:
                kind, count, size = HEADER.unpack_from(self._buffer, at)
                start, end = at + HEADER.size, at + HEADER.size + size
                if len(self._buffer) < end:
                    break
                with memoryview(self._buffer) as view:
                    body = bytes(view[start:end])
                at = end
                yield Frame(kind, count, body)
        finally:
            del self._buffer[:at]
