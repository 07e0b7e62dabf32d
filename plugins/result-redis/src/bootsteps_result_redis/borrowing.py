"""Servers that redis-py reaches for us: by TLS, by Sentinel, and by whatever else a URL of its says.

`sentinel://host:26379;sentinel://host2:26379/0` is the server that Redis Sentinel names as the master.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from bootsteps_redis_wire import Wire
from bootsteps_redis_wire.borrowed import Borrowed

__all__ = ["borrowed", "parameters_of"]

SCHEME = "sentinel://"
SENTINELS_PORT = 26379


def borrowed(url: str, timeouts: Mapping[str, float], options: Mapping[str, Any]) -> tuple[Callable[[], Wire], float]:
    """Return what makes connections, and the seconds that their server may take. Raises ValueError, TypeError."""
    if url.startswith(SCHEME):
        place, sentinels = _split(url)
        parameters = parameters_of(place, timeouts)
        make = _master(sentinels, options, parameters)
    else:
        parameters = parameters_of(url, timeouts)
        kind = parameters.pop("connection_class", Connection)

        def make() -> Any:
            return kind(**parameters)

    try:
        make()  # does not connect; knows its parameters
    except RedisError as exc:
        raise ValueError(str(exc)) from exc
    return lambda: Borrowed(make()), float(parameters["socket_timeout"])


def parameters_of(url: str, timeouts: Mapping[str, float]) -> dict[str, Any]:
    """Return redis-py's parameters of a connection. Raises ValueError, TypeError."""
    place = url.replace("redis+socket://", "unix://", 1)
    found: dict[str, Any] = {**timeouts, **parse_url(place)}
    found["db"] = _database(place, found)
    if "ssl_cert_reqs" in found:  # Celery's spelling is that of the module ssl
        found["ssl_cert_reqs"] = str(found["ssl_cert_reqs"]).removeprefix("CERT_").lower()
    # Answers are bytes in the old shape also under a newer redis-py, whose own retries know no deadline.
    return {**found, "protocol": 2, "decode_responses": False, "retry": Retry(NoBackoff(), 0)}


def _database(url: str, found: dict[str, Any]) -> int:
    if "virtual_host" in found:
        return int(found.pop("virtual_host"))
    path = "" if "path" in found else urlsplit(url).path.strip("/")
    if "db" not in found and path:
        raise ValueError(f"{path!r} is not the number of a database")
    return int(found.get("db", 0))


def _split(url: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the master's URL without its place, as `redis://`, and the sentinels. Raises ValueError."""
    parts = [part if "://" in part else SCHEME + part for part in url.split(";") if part]
    places = [parse_url("redis://" + part.removeprefix(SCHEME)) for part in parts]
    sentinels = [(str(place.get("host") or "localhost"), int(place.get("port") or SENTINELS_PORT)) for place in places]
    return "redis://" + parts[-1].removeprefix(SCHEME), sentinels  # user, password and database stand in the last one


def _master(
    sentinels: list[tuple[str, int]], options: Mapping[str, Any], parameters: dict[str, Any]
) -> Callable[[], Any]:
    """Return what makes connections to the master: each asks anew who that is."""
    name = options.get("master_name")
    if not name or not isinstance(name, str):
        raise ValueError("master_name in result_backend_transport_options says which master is meant")
    timeouts = {name: parameters[name] for name in ("socket_timeout", "socket_connect_timeout")}
    further = dict(options.get("sentinel_kwargs") or {})
    sentinel = Sentinel(sentinels, sentinel_kwargs={**timeouts, **further})
    place = {name: value for name, value in parameters.items() if name not in ("host", "port", "connection_class")}
    made: Callable[[], Any] = SentinelConnectionPool(name, sentinel, **place).make_connection
    return made
