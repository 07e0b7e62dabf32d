"""Result backends: what they do, what they store, and how one is found (wire reference 15)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, runtime_checkable

from bootsteps.errors import MissingRequirement, WrongType
from bootsteps_tasks.content import content_types, is_plain_json, plain_json
from bootsteps_tasks.encoding import serialized
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
    "ChordBackend",
    "Claim",
    "DisabledBackend",
    "Part",
    "decode",
    "encode",
    "encode_result",
    "exception_from_meta",
    "exception_to_meta",
    "make_backends",
    "meta",
    "newest",
    "open_backend",
]

GROUP = "kernel.backends"

READY_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
#: States whose result is an exception.
EXCEPTION_STATES = frozenset({"FAILURE", "REVOKED", "RETRY"})


@runtime_checkable
class Backend(Protocol):
    """Where results are. Made by `(app, url)`, one per process; safe from any thread.

    One that can have no chords says why in an attribute `no_chords`; one that counts their parts is a `ChordBackend`;
    for all others a task (`celery.chord_unlock`) looks now and then whether all results are there.
    """

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

    def save_group(self, group_id: str, found: Any) -> None:
        """Keep a group: its result tuple, for as long as results are kept."""

    def restore_group(self, group_id: str) -> Any:
        """Return the result tuple of a group, None when none is kept."""

    def delete_group(self, group_id: str) -> None:
        """No longer keep a group."""

    def close(self) -> None:
        """Let go of files and connections; they reopen when used."""


class Part(NamedTuple):
    """One task of a chord's header that has ended."""

    group_id: str
    task_id: str
    #: Its place in the header, None for the end.
    place: int | None
    state: str
    #: Its result; of one that failed, what `exception_to_meta` returns.
    result: Any
    #: The body, a signature as a mapping.
    body: Mapping[str, Any]
    root_id: str | None = None
    reply_to: str | None = None


class Claim(NamedTuple):
    """A chord whose parts have all returned, and whose body nobody else publishes now."""

    #: The part that completed it.
    part: Part
    token: str
    #: `(task_id, state, result)` of each part, in the header's order.
    results: Sequence[tuple[str, str, Any]]
    #: The header's result tuple, None when it is flat.
    tree: Any = None


@runtime_checkable
class ChordBackend(Protocol):
    """A result backend that counts the parts of chords by itself. Each part counts once, however often it returns."""

    def begin_chord(self, group_id: str, size: int, tree: Any = None) -> None:
        """Expect so many parts. `tree` is the header's result tuple if it holds groups."""

    def add_to_chord(self, group_id: str) -> None:
        """Expect one part more."""

    def return_parts(self, parts: Sequence[Part]) -> Sequence[Claim]:
        """Count parts, and claim the chords that are complete.

        Their bodies are published by the caller, who then calls `finish_chord`; when it dies before, the parts come
        again and claim the chord anew.
        """

    def finish_chord(self, claim: Claim) -> None:
        """Forget a chord whose body is published, and parts of it that come later."""


class Meta(dict[str, Any]):
    """A meta object that knows where an answer would go, and more that is never stored with it."""

    __slots__ = ("correlation_id", "first", "reply_to")

    def __init__(
        self, found: Mapping[str, Any], reply_to: str | None, correlation_id: str | None, first: bool = False
    ) -> None:
        super().__init__(found)
        #: As far as its writer knows nothing was stored of this task before.
        self.first = first
        #: The queue of whoever asked for the task, and what is to be told there.
        self.reply_to = reply_to
        self.correlation_id = correlation_id


def meta(
    task_id: str,
    state: str,
    result: Any = None,
    traceback: str | None = None,
    children: Sequence[Any] = (),
    *,
    conf: Settings | None = None,
    zone: tzinfo | None = None,
    reply_to: str | None = None,
    correlation_id: str | None = None,
    first: bool = False,
    **further: Any,
) -> Meta:
    """Return the meta object of a result. `result` may be an exception; `further` are e.g. `group_id` and `parent_id`.

    A backend that answers instead of storing sends it to the queue `reply_to`. It may be quicker about the `first` that
    is stored of a task. `date_done` is set in ready states only, in `zone` or that of `conf` (default UTC).
    """
    value = exception_to_meta(result) if isinstance(result, BaseException) else result
    date = _now(conf, zone) if state in READY_STATES else None
    found = {"status": state, "result": value, "traceback": traceback, "children": list(children), "date_done": date}
    return Meta({**found, "task_id": task_id, **further}, reply_to, correlation_id, first)


def newest(metas: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return for each id what is to be stored: the last one, or the first SUCCESS."""
    found: dict[str, Mapping[str, Any]] = {}
    for meta in metas:
        before = found.get(meta["task_id"])
        if before is None or before["status"] != "SUCCESS":
            found[meta["task_id"]] = meta
    return found


def _now(conf: Settings | None, zone: tzinfo | None) -> str:
    if zone is None and conf is not None:
        from bootsteps_tasks.sender import zone_of

        zone = zone_of(conf)
    return datetime.now(zone or UTC).isoformat()


def encode(value: Any, serializer: str) -> bytes:
    """Return the value's bytes. Raises kombu's `EncodeError`."""
    return serialized(value, serializer)[0]


def decode(payload: bytes | str, serializer: str, accept: Collection[str]) -> Any:
    """Return the value. Raises kombu's `ContentDisallowed` for a serializer not in `accept`, else `DecodeError`."""
    accepted = content_types(accept if type(accept) is frozenset else frozenset(accept))
    if serializer == "json" and "application/json" in accepted and is_plain_json(payload, "utf-8"):
        try:
            return plain_json(payload.decode())
        except (ValueError, RecursionError):
            pass  # kombu says what is wrong with it
    from kombu.serialization import loads, registry

    content_type, encoding = registry.name_to_type[serializer], "utf-8"
    if content_type in ("application/x-python-serialize", "application/x-msgpack"):
        encoding = "binary"
    return loads(payload, content_type, encoding, accept=accepted, force=True)


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


def open_backend(app: App, url: str | None = None) -> Backend:
    """Return the backend of a URL (default: `result_backend`). Raises `KernelError` when nothing installed reads it."""
    url = url or app.conf["result_backend"]
    if url and scheme_of(url) == "disabled":
        return DisabledBackend("result_backend is 'disabled'", "set result_backend")
    if not url:
        if "sqlite" not in installed(GROUP):
            what = "result_backend is not set, and the embedded backend is not installed"
            return DisabledBackend(what, "pip install bootsteps-result-sqlite")
        url = default_url(app.main, "results.db", "result_backend")
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


def make_backends(app: App) -> None:
    """Make the backends of the registered tasks that have results: what they import, forked children share then.

    A child makes its own all the same. One that cannot be made is told by who stores the first result.
    """
    from bootsteps_tasks.builtin import BUILTIN  # every application has these, and few use them

    for name, task in app.tasks.items():
        if name not in BUILTIN and not task.ignore_result:
            with suppress(Exception):  # of a plugin, whatever it is
                app.backend_of(task)


def answers(app: App) -> bool:
    """Whether the backend of `result_backend` answers who asks (its `replies`): each task must name its `reply_to`."""
    url = app.conf["result_backend"]
    return bool(url and getattr(load_scheme(GROUP, scheme_of(url)), "replies", False))


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

    def save_group(self, group_id: str, found: Any) -> None:
        """Raise `MissingRequirement`."""
        self._refuse()

    def restore_group(self, group_id: str) -> Any:
        """Raise `MissingRequirement`."""
        self._refuse()

    def delete_group(self, group_id: str) -> None:
        """Raise `MissingRequirement`."""
        self._refuse()

    @property
    def no_chords(self) -> str:
        """Why there can be no chords."""
        return f"results are not stored: {self._what}"

    def close(self) -> None:
        """Nothing is open."""
