"""What a child and the pool see at one time, without a lock: the running job, and the jobs that nobody has claimed."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["Claims", "Slot", "memory"]


class Slot:
    """The child's running job, in memory that both processes share. The child writes it, the pool reads."""

    def __init__(self, fd: int = -1) -> None:
        """With a descriptor of 16 bytes (see `memory`) also for processes that are not forked from this one."""
        self._memory = mmap.mmap(fd, 16)
        view = memoryview(self._memory)
        # native 8-byte cells are written by one store each, so no half of a number is ever seen
        self._seq = view[:8].cast("Q")  # seq + 1; 0 = none
        self._started = view[8:].cast("d")
        view.release()

    def begin(self, seq: int, now: float) -> None:
        """Tell that this job is running, since `now` (monotonic seconds)."""
        self._seq[0] = 0
        self._started[0] = now
        self._seq[0] = seq + 1

    def clear(self) -> None:
        """Tell that no job is running."""
        self._seq[0] = 0

    def read(self) -> tuple[int, float] | None:
        """Return (seq, start in monotonic seconds) of the running job."""
        for _ in range(100):  # the child may be writing at this moment
            seq, started = self._seq[0], self._started[0]
            if seq == self._seq[0]:
                break
        return (seq - 1, started) if seq else None

    def close(self) -> None:
        """Give the memory back."""
        self._seq.release()
        self._started.release()
        self._memory.close()


@contextmanager
def memory(content: bytes) -> Iterator[int]:
    """Yield the descriptor of a nameless file with this content, which another process can inherit."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("bootsteps-pool")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


class Claims:
    """The right to start each job: a number of 8 bytes in a pipe, which the child must read before it begins.

    The pool holds the reading end too. What it reads, the child cannot claim any more: so it takes jobs back from a
    child that is busy or dead, and knows for certain that they were not started. The kernel's own pipe lock makes each
    read whole; a process that dies cannot hold it.
    """

    def __init__(self, reader: int | None = None) -> None:
        """Make both ends; with a reader's descriptor that was inherited, the child's side of what is there."""
        self.reader, self.writer = os.pipe() if reader is None else (reader, -1)
        os.set_blocking(self.reader, False)
        if self.writer >= 0:
            os.set_blocking(self.writer, False)

    def offer(self, seqs: Iterable[int]) -> None:
        """Let the child claim these, in this order. At most 8,000 at one time (a pipe holds 64 KiB)."""
        os.write(self.writer, b"".join(seq.to_bytes(8, "little") for seq in seqs))

    def claim(self) -> int | None:
        """Take the next one; None when there is none left."""
        try:
            token = os.read(self.reader, 8)
        except BlockingIOError:
            return None
        return int.from_bytes(token, "little") if token else None

    def take_back(self) -> list[int]:
        """Take all that are not claimed, in their order."""
        try:
            tokens = os.read(self.reader, 1 << 16)
        except BlockingIOError:
            return []
        return [int.from_bytes(tokens[at : at + 8], "little") for at in range(0, len(tokens), 8)]

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self.writer)
