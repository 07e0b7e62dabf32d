# mypy: disable-error-code="no-untyped-call"
"""The embedded broker: a kombu transport on one SQLite file, shared by many processes, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps_transport_sqlite.errors import UnusableBroker

if TYPE_CHECKING:
    from kombu.connection import Connection

    from bootsteps_transport_sqlite.transport import Transport

__all__ = ["Transport", "UnusableBroker", "connection"]


def connection(url: str, **options: Any) -> Connection:
    """Return a kombu connection to the broker file that `url` names; it is opened when first used.

    `url` is written as in SQLAlchemy: `sqlite:////absolute/broker.db` or `sqlite:///relative.db`.
    `options` go to `kombu.Connection`.
    """
    from kombu.connection import Connection

    from bootsteps_transport_sqlite.transport import Transport

    return Connection(url, transport=Transport, **options)


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the entry point costs neither kombu nor sqlite3.
    if name == "Transport":
        from bootsteps_transport_sqlite.transport import Transport

        return Transport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
