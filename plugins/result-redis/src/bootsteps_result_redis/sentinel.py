"""The server that Redis Sentinel names as the master: `sentinel://host:26379;sentinel://host2:26379/0`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from redis.connection import ConnectionPool

__all__ = ["SCHEME", "Watched", "split", "watched"]

SCHEME = "sentinel://"


class Watched(NamedTuple):
    """A master, and who watches it."""

    name: str
    #: Host and port of each sentinel; the first that answers is asked.
    sentinels: list[tuple[str, int]]
    #: What redis-py's connections to sentinels take, e.g. their password.
    options: Mapping[str, Any]

    def pool(self, parameters: Mapping[str, Any]) -> ConnectionPool:
        """Return a pool of connections to the master: each asks anew who that is."""
        from redis.sentinel import Sentinel, SentinelConnectionPool

        timeouts = {name: parameters[name] for name in ("socket_timeout", "socket_connect_timeout")}
        sentinel = Sentinel(self.sentinels, sentinel_kwargs={**timeouts, **self.options})
        return SentinelConnectionPool(self.name, sentinel, **parameters)


def split(url: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the master's URL without its place, as `redis://`, and the sentinels. Raises ValueError."""
    parts = [part if "://" in part else SCHEME + part for part in url.split(";") if part]
    from redis.connection import parse_url

    places = [parse_url("redis://" + part.removeprefix(SCHEME)) for part in parts]
    sentinels = [(str(place.get("host") or "localhost"), int(place.get("port") or 26379)) for place in places]
    return "redis://" + parts[-1].removeprefix(SCHEME), sentinels  # user, password and database stand in the last one


def watched(sentinels: list[tuple[str, int]], options: Mapping[str, Any]) -> Watched:
    """Return the master that the options name. Raises ValueError."""
    name = options.get("master_name")
    if not name or not isinstance(name, str):
        raise ValueError("master_name in result_backend_transport_options says which master is meant")
    return Watched(name, sentinels, dict(options.get("sentinel_kwargs") or {}))
