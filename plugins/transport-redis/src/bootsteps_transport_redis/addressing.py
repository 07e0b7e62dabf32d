"""What kombu's connection and its options say about where the server is."""

from __future__ import annotations

from typing import Any

from kombu.utils.url import url_to_parts

from bootsteps_redis_wire.connection import Address

__all__ = ["address_of", "database"]


def database(name: Any) -> int:
    """Return the number of a database, which a URL has as its path. Raises ValueError."""
    try:
        return int(str(name or 0).removeprefix("/") or 0)
    except ValueError:
        raise ValueError(f"a database of Redis is a number, not {name!r}") from None


def address_of(channel: Any) -> Address | None:
    """Return where a channel's server is; None if it is to be reached in a way that only redis-py knows."""
    client = channel.connection.client
    host = client.hostname or "127.0.0.1"
    if client.ssl or client.credential_provider:
        return None
    further: dict[str, Any] = {
        "db": database(client.virtual_host), "username": client.userid, "password": client.password,
        "client_name": channel.client_name, "timeout": channel.socket_timeout,
        "connect_timeout": channel.socket_connect_timeout, "keepalive": bool(channel.socket_keepalive),
        "keepalive_options": channel.socket_keepalive_options or {},
    }  # fmt: skip
    if "://" not in host:
        return Address(host, int(client.port or channel.connection.default_port), **further)
    parts = url_to_parts(host)
    if parts.scheme != "socket" or set(parts.query) - {"virtual_host"}:
        return None
    further |= {"db": database(parts.query.get("virtual_host") or client.virtual_host)}
    further |= {"username": parts.username, "password": parts.password}
    return Address("", 0, f"/{parts.path}", **further)
