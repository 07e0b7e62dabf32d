"""The result backend `redis`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from bootsteps_redis_wire import ConnectionLost
from bootsteps_result_redis.chords import Chords
from bootsteps_result_redis.connection import Connections, patiently, server_of
from bootsteps_result_redis.layout import STORE, decode_meta, encode_meta, key_prefix
from bootsteps_result_redis.subscription import chunks
from bootsteps_tasks.backend import READY_STATES, Claim, Part, decode, encode, newest
from bootsteps_tasks.process import PerProcess

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["RedisBackend"]

T = TypeVar("T")

#: Seconds for which a server that cannot be reached is tried again.
DEADLINE_S = 15.0


class RedisBackend:
    """Results in a Redis that many hosts share. Safe from any thread.

    What a server keeps when it is stopped is its own setting (`appendonly`). Raises `SettingError` for a URL that
    cannot be read, `KernelError` when the server cannot be reached for 15 s or refuses.
    """

    def __init__(self, app: App, url: str) -> None:
        conf = app.conf
        options: Mapping[str, Any] = conf["result_backend_transport_options"]
        self._url = url
        self._prefix = key_prefix(options.get("global_keyprefix", ""))
        self._serializer: str = conf["result_serializer"]
        accept = conf["result_accept_content"]
        self._accept = frozenset({self._serializer, *(conf["accept_content"] if accept is None else accept)})
        self._expires_ms = round(1000 * (conf["result_expires"] or 0.0))
        self._groups = key_prefix(options.get("global_keyprefix", ""), "taskset")
        server = server_of(url, options)
        self._connections = PerProcess(lambda: Connections(server))
        self._chords = Chords(self._connections.get, self._groups, conf, self._accept)

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Store and publish a batch, all or nothing, in one round trip; two when some replace others.

        Of several with one id the last counts, or the first SUCCESS. See `bootsteps_tasks.Backend`.
        """
        values = {
            self._prefix + task_id: encode_meta(meta, self._serializer) for task_id, meta in newest(metas).items()
        }
        if len(metas) == 1 and getattr(metas[0], "first", False):
            [(key, value)] = values.items()
            self._ask(lambda: self._store_first(key, value))
        elif values:
            self._ask(lambda: self._store(values))

    def get(self, task_id: str) -> dict[str, Any] | None:
        """Return the meta object, None when nothing is stored."""
        return self.get_many((task_id,)).get(task_id)

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the meta objects that are stored."""
        keys = [self._prefix + task_id for task_id in ids]
        return self._ask(lambda: self._read(keys))

    def wait(self, ids: Collection[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
        """Return those that are ready as soon as one is; empty after `timeout` seconds, and at once for no ids.

        Listens first and looks then, so nothing falls between; what it listens to is kept for the next call with the
        rest of the ids, which neither subscribes nor looks again.
        """
        keys = {self._prefix + task_id for task_id in ids}
        if not keys:
            return {}
        if timeout is not None and timeout <= 0:
            return _ready(self._ask(lambda: self._read(keys)))
        until = monotonic() + (inf if timeout is None else timeout)
        while (left := until - monotonic()) > 0:
            # The patience begins anew after each time that it listened: a wait may take days.
            found = self._ask(lambda: self._wait(keys, until), left)
            if found is not None:
                return found
        return {}

    def forget(self, task_id: str) -> None:
        """Delete the result."""
        self._ask(lambda: self._connections.get().call("DEL", self._prefix + task_id))

    def save_group(self, group_id: str, found: Any) -> None:
        """Keep a group's result tuple."""
        value, expires = encode({"result": found}, self._serializer), self._expires_ms
        command = ("SET", self._groups + group_id, value, *(("PX", expires) if expires else ()))
        self._ask(lambda: self._connections.get().call(*command))

    def restore_group(self, group_id: str) -> Any:
        """Return a group's result tuple, None when none is kept."""
        value = self._ask(lambda: self._connections.get().call("GET", self._groups + group_id))
        return None if value is None else decode(value, self._serializer, self._accept)["result"]

    def delete_group(self, group_id: str) -> None:
        """No longer keep a group."""
        self._ask(lambda: self._connections.get().call("DEL", self._groups + group_id))

    def begin_chord(self, group_id: str, size: int, tree: Any = None) -> None:
        """Expect so many parts. See `bootsteps_tasks.ChordBackend`."""
        self._ask(lambda: self._chords.begin(group_id, size, tree))

    def add_to_chord(self, group_id: str) -> None:
        """Expect one part more."""
        self._ask(lambda: self._chords.add(group_id))

    def return_parts(self, parts: Sequence[Part]) -> Sequence[Claim]:
        """Count parts and claim the chords that are complete. See `bootsteps_tasks.ChordBackend`."""
        return self._ask(lambda: self._chords.return_parts(parts))

    def finish_chord(self, claim: Claim) -> None:
        """Forget a chord whose body is published."""
        self._ask(lambda: self._chords.finish(claim))

    def close(self) -> None:
        """Close the connections; they reopen when used."""
        connections = self._connections.drop()
        if connections is not None:
            connections.close()

    def _ask(self, call: Callable[[], T], most_s: float = inf) -> T:
        return patiently(call, self._url, min(most_s, DEADLINE_S))

    def _store_first(self, key: str, value: bytes) -> None:
        """Store and publish what is probably the first of its task, without a script: so its caller has it sooner.

        A server that did nothing for a moment takes 35 to 40 µs more for the script. If something stands there already,
        what was published may come once more, or be of a task that had succeeded before: who waited for that knows it.
        """
        expiry = ("PX", self._expires_ms) if self._expires_ms else ()
        store = ("SET", key, value, *expiry, "NX")
        *_, done = self._connections.get().pipeline(("MULTI",), store, ("PUBLISH", key, value), ("EXEC",))
        if done[0] is None:
            self._store({key: value})

    def _store(self, values: Mapping[str, bytes]) -> None:
        left, standing = dict(values), dict.fromkeys(values, b"")
        while left:
            others = self._run_script(left, standing)
            if not others:
                return
            for key, old in others.items():
                if old and self._decode(old)["status"] == "SUCCESS":
                    del left[key]
                standing[key] = old

    def _run_script(self, values: Mapping[str, bytes], standing: Mapping[str, bytes]) -> dict[str, bytes]:
        """Write all, or nothing and return what stands in keys where something else was expected."""
        keys = list(values)
        arguments: list[Any] = [self._expires_ms]
        for key, value in values.items():
            arguments += (standing[key], value)
        others: Any = self._connections.get().script(STORE, keys, arguments)
        return {keys[number - 1]: old for number, old in zip(others[::2], others[1::2], strict=True)}

    def _read(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        call = self._connections.get().call
        values: list[Any] = []
        for chunk in chunks(keys):
            values += call("MGET", *chunk)
        metas = (self._decode(value) for value in values if value is not None)
        return {meta["task_id"]: meta for meta in metas}

    def _wait(self, keys: set[str], until: float) -> dict[str, dict[str, Any]] | None:
        """Return those that are ready, none at the time `until`; None when the connection broke while it listened."""
        listens = False
        try:
            with self._connections.get().subscriptions.lend(keys) as subscription:
                found = _ready(self._read(subscription.watch(keys)))
                listens = True
                while not found and (left := until - monotonic()) > 0:
                    metas = map(self._decode, subscription.receive(left))
                    found = _ready({meta["task_id"]: meta for meta in metas})
                subscription.unwatch([self._prefix + task_id for task_id in found])
            return found
        except ConnectionLost:
            if listens:
                return None
            raise

    def _decode(self, value: bytes) -> dict[str, Any]:
        return decode_meta(value, self._serializer, self._accept)


def _ready(metas: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {task_id: meta for task_id, meta in metas.items() if meta["status"] in READY_STATES}
