"""Where a message of the server comes from."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Source"]


class Source(NamedTuple):
    """A list of the server's that messages come from: one priority of one queue."""

    queue: str
    key: str
    #: What follows the message in its entry of `unacked`, JSON. kombu writes exchange and routing key there, to find
    #: the queue when it restores the message; the default exchange with the queue's name leads to where it came from.
    tail: bytes
