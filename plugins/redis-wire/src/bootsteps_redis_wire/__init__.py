"""Redis's protocol and a connection that speaks it, for plugins that have their own use of a server."""

from bootsteps_redis_wire.connection import Address, Connection, Wire, exchange, run_script, script_name
from bootsteps_redis_wire.errors import (
    ConnectionLost,
    NoScript,
    NotAdmitted,
    ReadOnly,
    RedisError,
    Refused,
    ServerSilent,
)
from bootsteps_redis_wire.wire import Command

__all__ = [
    "Address",
    "Command",
    "Connection",
    "ConnectionLost",
    "NoScript",
    "NotAdmitted",
    "ReadOnly",
    "RedisError",
    "Refused",
    "ServerSilent",
    "Wire",
    "exchange",
    "run_script",
    "script_name",
]
