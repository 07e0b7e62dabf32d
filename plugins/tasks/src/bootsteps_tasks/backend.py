"""Result backends: what they do, what they store, and how one is found (wire reference 15)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from bootsteps.errors import MissingRequirement, WrongType
from bootsteps_tasks.content import content_types
from bootsteps_tasks.places import default_url, installed, load_scheme, mask_url, scheme_of, unknown_scheme
from bootsteps_tasks.remote import exception_from_meta, exception_to_meta
from bootsteps_tasks.repr import bounded_repr

if TYPE_CHECKING:
    from bootsteps import Settings
    from bootsteps_tasks.app import App

__all__ = [
    "EXCEPTION_STATES",
    "READY_STATES",
    "Backend",
    "DisabledBackend",
    "decode",
    "encode",
    "encode_result",
    "exception_from_meta",
    "exception_to_meta",
    "meta",
    "open_backend",
]

GROUP = "kernel.backends"

READY_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
#: States whose result is an exception.
EXCEPTION_STATES = frozenset({"FAILURE", "REVOKED", "RETRY"})


@runtime_checkable
class Backend(Protocol):
    """Where results are. Made by `(app, url)`, one per process; safe from any thread."""

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Make a batch durable, all or nothing. A stored SUCCESS is never replaced.

        A result that the serializer cannot hold is stored as a FAILURE that says so.
        """

    def get(self, task_id: str) -> dict[str, Any] | None:
        """Return the meta object, None when nothing is known."""

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the meta objects that there are."""

    def wait(self, ids: Collection[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
        """Return those in a ready state as soon as there is one; empty after `timeout` seconds (None: for ever)."""

    def forget(self, task_id: str) -> None:
        """Delete the result."""

    def close(self) -> None:
        """Let go of files and connections; they reopen when used."""


def meta(
    task_id: str,
    state: str,
    result: Any = None,
    traceback: str | None = None,
    children: Sequence[Any] = (),
    *,
    conf: Settings | None = None,
    **further: Any,
) -> dict[str, Any]:
    """Return the meta object of a result. `result` may be an exception; `further` are e.g. `group_id` and `parent_id`.

    `date_done` is set in ready states only, in the zone of `conf` (default UTC).
    """
    value = exception_to_meta(result) if isinstance(result, BaseException) else result
    date = _now(conf) if state in READY_STATES else None
    found = {"status": state, "result": value, "traceback": traceback, "children": list(children), "date_done": date}
    return {**found, "task_id": task_id, **further}


def _now(conf: Settings | None) -> str:
    from datetime import UTC

    from bootsteps_tasks.sender import zone_of

    return datetime.now(UTC if conf is None else zone_of(conf)).isoformat()


def encode(value: Any, serializer: str) -> bytes:
    """Return the value's bytes. Raises kombu's `EncodeError`."""
    from kombu.serialization import dumps

    _, encoding, payload = dumps(value, serializer=serializer)
    return payload.encode(encoding) if isinstance(payload, str) else bytes(payload)


def decode(payload: bytes | str, serializer: str, accept: Collection[str]) -> Any:
    """Return the value. Raises kombu's `ContentDisallowed` for a serializer not in `accept`, else `DecodeError`."""
    from kombu.serialization import loads, registry

    content_type, encoding = registry.name_to_type[serializer], "utf-8"
    if content_type in ("application/x-python-serialize", "application/x-msgpack"):
        encoding = "binary"
    return loads(payload, content_type, encoding, accept=content_types(frozenset(accept)), force=True)


def encode_result(found: Mapping[str, Any], serializer: str) -> tuple[Mapping[str, Any], bytes]:
    """Return the meta object and its result's bytes; one that cannot be encoded becomes a FAILURE (as in Celery)."""
    try:
        return found, encode(found["result"], serializer)
    except Exception as exc:
        # Whatever the value's own code raises.
        what = f"the result cannot be serialized as {serializer}: {exc}: {bounded_repr(found['result'], 200)}"
        failure = {"exc_type": "EncodeError", "exc_message": [what], "exc_module": "kombu.exceptions"}
        changed = {**found, "status": "FAILURE", "result": failure}
        return changed, encode(failure, serializer)


def open_backend(app: App) -> Backend:
    """Return the backend of `result_backend`. Raises `KernelError` when nothing installed reads its URL."""
    url = app.conf["result_backend"]
    if url and scheme_of(url) == "disabled":
        return DisabledBackend("result_backend is 'disabled'", "set result_backend")
    if not url:
        if "sqlite" not in installed(GROUP):
            what = "result_backend is not set, and the embedded backend is not installed"
            return DisabledBackend(what, "pip install bootsteps-result-sqlite")
        url = default_url(app.main, "results.db")
    factory = load_scheme(GROUP, scheme_of(url))
    if factory is None:
        raise unknown_scheme("result_backend", url, installed(GROUP))
    if not callable(factory):
        what = f"result backend {scheme_of(url)!r} is a {type(factory).__name__}, not a class"
        raise WrongType(
            what, (f"setting result_backend {mask_url(url)!r}",), "name a class that is called with (app, url)"
        )
    found: Backend = factory(app, url)
    return found


class DisabledBackend:
    """Stores nothing, and says so to those who ask for a result."""

    def __init__(self, what: str, fix: str) -> None:
        self._what = what
        self._fix = fix

    def _refuse(self) -> NoReturn:
        raise MissingRequirement(f"results are not stored: {self._what}", ("setting result_backend",), self._fix)

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Drop them."""

    def get(self, task_id: str) -> dict[str, Any] | None:
        """Raise `MissingRequirement`."""
        self._refuse()

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Raise `MissingRequirement`."""
        self._refuse()

    def wait(self, ids: Collection[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
        """Raise `MissingRequirement`."""
        self._refuse()

    def forget(self, task_id: str) -> None:
        """Raise `MissingRequirement`."""
        self._refuse()

    def close(self) -> None:
        """Nothing is open."""
