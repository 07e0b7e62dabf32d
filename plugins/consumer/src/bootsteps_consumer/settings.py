"""The settings of the connection, apart from the consumer that heeds them."""

from __future__ import annotations

from bootsteps import Setting

__all__ = ["RETRY", "RETRY_AT_START", "RETRY_MAX"]

RETRY = Setting[bool]("broker_connection_retry", bool, True, flags=(), help="make a new connection when one breaks")
RETRY_AT_START = Setting[bool | None](
    "broker_connection_retry_on_startup",
    bool,
    None,
    flags=(),
    help="also the first; default: as broker_connection_retry",
)
RETRY_MAX = Setting[int | None](
    "broker_connection_max_retries", int, None, flags=(), help="attempts in a row before giving up; default: no limit"
)
