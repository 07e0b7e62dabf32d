"""What can go wrong with a server."""

from __future__ import annotations

__all__ = ["ConnectionLost", "NoScript", "NotAdmitted", "ReadOnly", "RedisError", "Refused", "ServerSilent", "refusal"]


class RedisError(Exception):
    """Something went wrong between this process and the server."""


class ConnectionLost(RedisError, ConnectionError):
    """There is no connection (any more): the server is away, lets nobody in, or is no Redis."""


class ServerSilent(ConnectionLost):
    """The server took a command, or a connection, and did not answer in time."""


class NotAdmitted(ConnectionLost):
    """The server lets us in under no other conditions: user, password or database are not what it wants."""


class Refused(RedisError):
    """The server answered with an error."""


class NoScript(Refused):
    """The server does not have this script (any more)."""


class ReadOnly(Refused):
    """The server is a replica, perhaps of late: who asks again finds the master."""


#: How an answer begins that is more than a refused command.
KINDS: tuple[tuple[tuple[str, ...], type[RedisError]], ...] = (
    (("LOADING", "MASTERDOWN", "ERR max number of clients"), ConnectionLost),
    (("NOAUTH", "WRONGPASS"), NotAdmitted),
    (("NOSCRIPT",), NoScript),
    (("READONLY",), ReadOnly),
)


def refusal(text: str) -> RedisError:
    """Return the error for what a server answers."""
    return next((kind for words, kind in KINDS if text.startswith(words)), Refused)(text)
