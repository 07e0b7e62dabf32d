"""What can go wrong with a server."""

from __future__ import annotations

__all__ = ["ConnectionLost", "NoScript", "RedisError", "Refused", "ServerSilent", "refusal"]


class RedisError(Exception):
    """Something went wrong between this process and the server."""


class ConnectionLost(RedisError, ConnectionError):
    """There is no connection (any more): the server is away, lets nobody in, or is no Redis."""


class ServerSilent(ConnectionLost):
    """The server took a command, or a connection, and did not answer in time."""


class Refused(RedisError):
    """The server answered with an error."""


class NoScript(Refused):
    """The server does not have this script (any more)."""


#: Answers that concern the connection, not the command.
NO_ENTRY = ("LOADING", "NOAUTH", "WRONGPASS", "ERR max number of clients")


def refusal(text: str) -> RedisError:
    """Return the error for what a server answers."""
    if text.startswith(NO_ENTRY):
        return ConnectionLost(text)
    return (NoScript if text.startswith("NOSCRIPT") else Refused)(text)
