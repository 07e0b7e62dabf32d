"""The server, one process's connections to it, and patience with both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from bootsteps.errors import KernelError, SettingError
from bootsteps_result_redis.sentinel import SCHEME, Watched, split, watched
from bootsteps_result_redis.subscription import Subscriptions
from bootsteps_tasks.places import mask_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis
    from redis.connection import Connection, ConnectionPool

__all__ = ["Connections", "parameters_of", "passing_errors", "patiently"]

T = TypeVar("T")

WHERE = ("result backend redis (bootsteps-result-redis)",)
FORMS = (
    "redis://user:password@host:6379/0, rediss://host/0?ssl_cert_reqs=required, redis+socket:///path?virtual_host=0;\n"
    "  or sentinel://host:26379;sentinel://host2:26379/0 with result_backend_transport_options = {'master_name': NAME}"
)
#: Seconds; `socket_timeout` and `socket_connect_timeout` in the URL or in the options say otherwise.
TIMEOUTS = {"socket_timeout": 10.0, "socket_connect_timeout": 4.0}
#: The first attempt after a failure is at once: mostly an idle connection was closed. Then seconds between two.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


def parameters_of(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return redis-py's parameters of a connection. Raises `SettingError` for what is none."""
    from redis.connection import Connection, parse_url
    from redis.exceptions import RedisError

    timeouts = {name: _timeout(options, name) for name in TIMEOUTS}
    watch: Watched | None = None
    try:
        for part in url.split(f";{SCHEME}"):
            _check_quoting(part if "://" in part else SCHEME + part)
        place = url.replace("redis+socket://", "unix://", 1)
        if url.startswith(SCHEME):
            place, sentinels = split(url)
            watch = watched(sentinels, options)
        found: dict[str, Any] = {**timeouts, **parse_url(place)}
        found["db"] = _database(place, found)
        if "ssl_cert_reqs" in found:  # Celery's spelling is that of the module ssl
            found["ssl_cert_reqs"] = str(found["ssl_cert_reqs"]).removeprefix("CERT_").lower()
        # Answers are bytes in the old shape also under a newer redis-py.
        found |= {"protocol": 2, "decode_responses": False}
        further = {name: value for name, value in found.items() if name != "connection_class"}
        found.get("connection_class", Connection)(**further)  # does not connect; knows its parameters
        if watch is not None:
            found = {**found, "watched": watch}
            del found["host"], found["port"]
    except (ValueError, TypeError, RedisError) as exc:
        raise SettingError(f"result_backend {mask_url(url)!r} cannot be read: {exc}", WHERE, FORMS) from exc
    return found


def _check_quoting(url: str) -> None:
    # Else part of such a password is taken for a port or a path, and told in their errors.
    parts = urlsplit(url)
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError("in a password write / as %2F, ? as %3F, # as %23, and @ behind the host as %40")


def _timeout(options: Mapping[str, Any], name: str) -> float:
    value = options.get(name, TIMEOUTS[name])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        what = f"result_backend_transport_options: {name} is {value!r}, not a number of seconds"
        raise SettingError(what, WHERE, f"{name}={TIMEOUTS[name]}")
    return float(value)


def _database(url: str, found: dict[str, Any]) -> int:
    if "virtual_host" in found:
        return int(found.pop("virtual_host"))
    path = "" if "path" in found else urlsplit(url).path.strip("/")
    if "db" not in found and path:
        raise ValueError(f"{path!r} is not the number of a database")
    return int(found.get("db", 0))


class Connections:
    """One process's pool of connections, and its subscriptions. Safe from any thread. Connects when used."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.connection import Connection, ConnectionPool
        from redis.retry import Retry

        # redis-py's own retries know no deadline, and its subscriptions would hide that messages were missed.
        further = {**parameters, "retry": Retry(NoBackoff(), 0)}
        watch: Watched | None = further.pop("watched", None)
        kind = further.pop("connection_class", Connection)
        self._pool: ConnectionPool = (
            ConnectionPool(connection_class=kind, **further) if watch is None else watch.pool(further)
        )
        self._make = partial(kind, **further) if watch is None else self._pool.make_connection
        self._idle: list[Connection] = []
        self.client: Redis = Redis(connection_pool=self._pool)
        self.subscriptions = Subscriptions(self._connect)

    def call(self, *command: Any) -> Any:
        """Return the answer to one command, in a third of the time of the client's. Raises redis-py's errors.

        A connection that lay idle is not asked whether it is still there: `patiently` tries again at once.
        """
        from redis.exceptions import ResponseError

        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.send_command(*command, check_health=False)
            answer = connection.read_response()
        except BaseException as exc:
            if isinstance(exc, ResponseError):
                self._idle.append(connection)
            else:
                connection.disconnect()  # its answer may be on the way
            raise
        self._idle.append(connection)
        return answer

    def _connect(self) -> Connection:
        made: Any = self._make()
        made.connect()
        return made  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close what is not in use."""
        self.subscriptions.close()
        while self._idle:
            self._idle.pop().disconnect()
        self._pool.disconnect()


def passing_errors() -> tuple[type[Exception], ...]:
    """redis-py's errors that may go away; also `AuthenticationError`, which does not, derives from them."""
    from redis import exceptions

    return (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError)


def patiently(call: Callable[[], T], url: str, deadline_s: float) -> T:
    """Call again while the server cannot be reached. Raises `KernelError` for what does not go away in `deadline_s`."""
    from redis import exceptions

    passing = passing_errors()
    lasting = (exceptions.AuthenticationError, exceptions.AuthorizationError)
    until, pause = monotonic() + deadline_s, 0.0
    while True:
        try:
            return call()
        except lasting as exc:
            raise _refused(url, exc) from exc
        except passing as exc:
            if monotonic() + pause >= until:
                what = f"the result server {mask_url(url)} cannot be used: {exc}"
                raise KernelError(what, WHERE, "start it, or correct result_backend") from exc
            sleep(pause)
            pause = min(max(FIRST_PAUSE_S, 2 * pause), LONGEST_PAUSE_S)
        except exceptions.RedisError as exc:
            raise _refused(url, exc) from exc


def _refused(url: str, exc: Exception) -> KernelError:
    what = f"the result server {mask_url(url)} refuses: {exc}"
    return KernelError(what, WHERE, "look at the user, password and rights in result_backend, and at the server's log")
