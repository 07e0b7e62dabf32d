"""What a child was sent and has not run yet, in one piece of memory that is used again and again."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from bootsteps_pool_processes.frames import HEADER, Frame

__all__ = ["SIZE", "Tray"]

#: Bytes. What is beyond them waits in the socket; only a frame that is larger gets more.
SIZE = 1 << 14


class Tray:
    """Makes frames of the bytes that arrive, however they are cut, and leaves them where they are.

    Jobs that are objects of their own would be put wherever the heap has room, and each page of it that a child writes
    to it no longer shares with the pool's process: that was half a megabyte for each child.
    """

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(SIZE))
        self._start = self._end = 0

    @property
    def capacity(self) -> int:
        """Bytes."""
        return len(self._memory)

    def receive(self, source: socket.socket, flags: int = 0) -> bool:
        """Take in what has come, waiting for it; False when nothing will come any more. Raises BlockingIOError.

        The frames that were taken out before are no more.
        """
        self._make_room()
        size = source.recv_into(self._memory[self._end :], 0, flags)
        self._end += size
        return size > 0

    def _make_room(self) -> None:
        """Move what is not a whole frame yet to the front, into more memory if its frame is larger than the tray."""
        start, end, memory = self._start, self._end, self._memory
        size = SIZE
        if end - start >= HEADER.size:
            size = max(size, HEADER.size + HEADER.unpack_from(memory, start)[2])
        if start or len(memory) != size:
            rest = bytes(memory[start:end])
            if len(memory) != size:
                self._memory = memory = memoryview(bytearray(size))
            memory[: len(rest)] = rest
            self._start, self._end = 0, len(rest)

    def frames(self) -> Iterator[Frame[memoryview]]:
        """Take out every frame that is complete; its body is a view."""
        while self._end - self._start >= HEADER.size:
            kind, count, size = HEADER.unpack_from(self._memory, self._start)
            body = self._start + HEADER.size
            if self._end < body + size:
                return
            self._start = body + size
            yield Frame(kind, count, self._memory[body : body + size])
