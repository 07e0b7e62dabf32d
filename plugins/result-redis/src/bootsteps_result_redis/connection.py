"""The server, one process's connections to it, and patience with both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from bootsteps.errors import KernelError, SettingError
from bootsteps_redis_wire import (
    Address,
    Command,
    Connection,
    ConnectionLost,
    NotAdmitted,
    ReadOnly,
    RedisError,
    Refused,
    Wire,
    exchange,
    run_script,
)
from bootsteps_result_redis.subscription import Subscriptions
from bootsteps_tasks.places import mask_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Connections", "Server", "address_of", "patiently", "server_of"]

T = TypeVar("T")

WHERE = ("result backend redis (bootsteps-result-redis)",)
FORMS = (
    "redis://user:password@host:6379/0, rediss://host/0?ssl_cert_reqs=required, redis+socket:///path?virtual_host=0;\n"
    "  or sentinel://host:26379;sentinel://host2:26379/0 with result_backend_transport_options = {'master_name': NAME}"
)
#: Seconds; `socket_timeout` and `socket_connect_timeout` in the URL or in the options say otherwise.
TIMEOUTS = {"socket_timeout": 10.0, "socket_connect_timeout": 4.0}
#: What the URL of a server in the clear may ask for; all else is left to redis-py.
PLAIN_SCHEMES, PLAIN_WORDS = ("redis", "redis+socket", "unix"), {"db", "virtual_host", *TIMEOUTS}
PORT = 6379
#: The first attempt after a failure is at once: mostly an idle connection was closed. Then seconds between two.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


class Server(NamedTuple):
    """A server, as a URL names it."""

    #: Makes a connection that is not connected yet.
    connection: Callable[[], Wire]
    #: Seconds within which it answers.
    timeout_s: float


def server_of(url: str, options: Mapping[str, Any]) -> Server:
    """Return the server that a URL names. Raises `SettingError` for what names none."""
    timeouts = {name: _timeout(options, name) for name in TIMEOUTS}
    try:
        _check_quoting(url)
        address = address_of(url, timeouts)
        if address is not None:
            assert address.timeout is not None
            return Server(partial(Connection, address), address.timeout)
        from bootsteps_result_redis.borrowing import borrowed

        return Server(*borrowed(url, timeouts, options))
    except (ValueError, TypeError) as exc:
        raise SettingError(f"result_backend {mask_url(url)!r} cannot be read: {exc}", WHERE, FORMS) from exc


def address_of(url: str, timeouts: Mapping[str, float]) -> Address | None:
    """Return where the server is; None if it is to be reached in a way that only redis-py knows. Raises ValueError."""
    parts = urlsplit(url)
    words = dict(parse_qsl(parts.query))
    if parts.scheme not in PLAIN_SCHEMES or set(words) - PLAIN_WORDS:
        return None
    path = unquote(parts.path)
    local = path if parts.scheme != "redis" else None
    name = words.get("virtual_host") or words.get("db") or ("" if local else path.strip("/"))
    return Address(
        unquote(parts.hostname or "localhost"), parts.port or PORT, local,
        _database(name), unquote(parts.username or "") or None, unquote(parts.password or "") or None,
        timeout=_seconds(words, timeouts, "socket_timeout"),
        connect_timeout=_seconds(words, timeouts, "socket_connect_timeout"),
    )  # fmt: skip


def _seconds(words: Mapping[str, str], timeouts: Mapping[str, float], name: str) -> float:
    found = float(words.get(name, timeouts[name]))
    if not found > 0:
        raise ValueError(f"{name}={found:g} is not a number of seconds")
    return found


def _database(name: str) -> int:
    try:
        return int(name or 0)
    except ValueError:
        raise ValueError(f"{name!r} is not the number of a database") from None


def _check_quoting(url: str) -> None:
    # Else part of such a password is taken for a port or a path, and told in their errors.
    for part in url.split(";"):
        parts = urlsplit(part if "://" in part else f"redis://{part}")
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError("in a password write / as %2F, ? as %3F, # as %23, and @ behind the host as %40")


def _timeout(options: Mapping[str, Any], name: str) -> float:
    value = options.get(name, TIMEOUTS[name])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        what = f"result_backend_transport_options: {name} is {value!r}, not a number of seconds"
        raise SettingError(what, WHERE, f"{name}={TIMEOUTS[name]}")
    return float(value)


class Connections:
    """One process's connections, and its subscriptions. Safe from any thread. Connects when used."""

    def __init__(self, server: Server) -> None:
        self._make = server.connection
        self._idle: list[Wire] = []
        self.subscriptions = Subscriptions(self._connected, server.timeout_s)

    def call(self, *command: Any) -> Any:
        """Return the answer to one command. Raises `bootsteps_redis_wire.RedisError`."""
        return self.pipeline(command)[0]

    def pipeline(self, *commands: Command) -> list[Any]:
        """Return the answers to commands that are sent together. The first error among them is raised.

        A connection that lay idle is not asked whether it is still there: `patiently` tries again at once.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connected()
        try:
            answers = exchange(connection, commands)
        except BaseException:
            connection.close()  # an answer may be on the way
            raise
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if any(isinstance(answer, ReadOnly) for answer in refused):
            connection.close()  # the master is elsewhere
        else:
            self._idle.append(connection)
        if refused:
            raise refused[0]
        return answers

    def script(self, text: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Return what a Lua script returns. The server gets its text once."""
        return run_script(self.call, text, keys, arguments)

    def _connected(self) -> Wire:
        made = self._make()
        made.connect()
        return made

    def close(self) -> None:
        """Close what is not in use."""
        self.subscriptions.close()
        while self._idle:
            self._idle.pop().close()


def patiently(call: Callable[[], T], url: str, deadline_s: float) -> T:
    """Call again while the server cannot be reached. Raises `KernelError` for what does not go away in `deadline_s`."""
    until, pause = monotonic() + deadline_s, 0.0
    while True:
        try:
            return call()
        except NotAdmitted as exc:
            raise _refused(url, exc) from exc
        except (ConnectionLost, ReadOnly) as exc:
            if monotonic() + pause >= until:
                what = f"the result server {mask_url(url)} cannot be used: {exc}"
                raise KernelError(what, WHERE, "start it, or correct result_backend") from exc
            sleep(pause)
            pause = min(max(FIRST_PAUSE_S, 2 * pause), LONGEST_PAUSE_S)
        except RedisError as exc:
            raise _refused(url, exc) from exc


def _refused(url: str, exc: Exception) -> KernelError:
    what = f"the result server {mask_url(url)} refuses: {exc}"
    return KernelError(what, WHERE, "look at the user, password and rights in result_backend, and at the server's log")
