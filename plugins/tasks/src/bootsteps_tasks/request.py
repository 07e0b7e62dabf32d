"""What a running task knows about the message that asked for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks.message import TaskHeaders

__all__ = ["Context", "current_request", "executing", "get_task_logger"]

#: Headers that every message gets from its own options.
MADE_ANEW = frozenset(
    {
        *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit"),
        *("root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "compression", "redelivered"),
    }
)


@dataclass(slots=True)
class Context:
    """One run of one task. Empty (`called_directly`) when the task was called as a function."""

    id: str | None = None
    #: The task's name.
    task: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    #: Attempts before this one.
    retries: int = 0
    #: `exchange`, `routing_key`, and what else the transport tells.
    delivery_info: Mapping[str, Any] = field(default_factory=dict)
    #: The worker's node name.
    hostname: str | None = None
    #: All message headers as they came.
    headers: Mapping[str, Any] = field(default_factory=dict)
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    #: ISO 8601 text, as in the message.
    eta: str | None = None
    expires: str | None = None
    #: Hard and soft limit in seconds.
    timelimit: Sequence[float | None] = (None, None)
    reply_to: str | None = None
    correlation_id: str | None = None
    origin: str | None = None
    shadow: str | None = None
    ignore_result: bool | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    #: Signatures of the body's third part.
    callbacks: Sequence[Any] | None = None
    errbacks: Sequence[Any] | None = None
    chain: Sequence[Any] | None = None
    chord: Any = None
    #: Result tuples of the tasks published during this run (wire reference 15.1).
    children: list[Any] = field(default_factory=list)
    #: Message properties: `correlation_id`, `priority`, ...
    properties: Mapping[str, Any] = field(default_factory=dict)
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] | None = None
    replaced_task_nesting: int = 0
    called_directly: bool = True
    #: It is run by `Task.apply`, where it was called.
    is_eager: bool = False
    #: A state of this run was stored before its end.
    state_stored: bool = field(default=False, repr=False, compare=False)
    #: Headers and properties as they came, JSON, for whoever asks for them: few do.
    undecoded: tuple[str, str] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        found: TaskHeaders,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        delivery_info: Mapping[str, Any],
        hostname: str,
        headers: Mapping[str, Any],
        embed: Mapping[str, Any],
        properties: Mapping[str, Any] | None = None,
    ) -> Context:
        """Return the context of a message."""
        context = cls(
            found.id,
            found.name,
            args,
            kwargs,
            found.retries,
            delivery_info,
            hostname,
            headers,
            found.root_id,
            found.parent_id,
            found.group,
            found.group_index,
            None if found.eta is None else found.eta.isoformat(),
            None if found.expires is None else found.expires.isoformat(),
            found.timelimit,
            found.reply_to,
            found.correlation_id,
            found.origin,
            found.shadow,
            found.ignore_result,
            found.argsrepr,
            found.kwargsrepr,
            properties=properties or {},
            stamped_headers=headers.get("stamped_headers"),
            stamps=headers.get("stamps"),
            replaced_task_nesting=headers.get("replaced_task_nesting") or 0,
            called_directly=False,
        )
        return context.with_embed(embed) if embed else context

    @classmethod
    def of_plain(
        cls, found: TaskHeaders, delivery_info: Mapping[str, Any], hostname: str, headers: str, properties: str
    ) -> Context:
        """Return the context of a message that `parse_plain` has read, without arguments yet."""
        context = cls.of(found, (), {}, delivery_info, hostname, {}, {})
        context.undecoded = headers, properties
        context.stamps = {}
        del context.headers, context.properties
        return context

    if not TYPE_CHECKING:  # where it would hide every misspelt name

        def __getattr__(self, name: str) -> Any:
            """Decode the headers and properties when they are asked for."""
            if name not in ("headers", "properties") or self.undecoded is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self.headers, self.properties = map(json.loads, self.undecoded)
            return getattr(self, name)

    def with_embed(self, embed: Mapping[str, Any]) -> Context:
        """Take the signatures of the body's third part, and return itself."""
        self.callbacks, self.errbacks = embed.get("callbacks"), embed.get("errbacks")
        self.chain, self.chord = embed.get("chain"), embed.get("chord")
        return self

    def custom_headers(self) -> dict[str, Any]:
        """Return the headers that the protocol does not make anew for each message: the caller's own, and stamps."""
        return {name: value for name, value in self.headers.items() if name not in MADE_ANEW}


_current: ContextVar[Context | None] = ContextVar("bootsteps_tasks_request", default=None)


def current_request() -> Context | None:
    """Return the request that this thread (or coroutine) is executing."""
    return _current.get()


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for tasks: what it logs while one runs says its name and id (`worker_task_log_format`)."""
    return logging.getLogger(f"bootsteps.task.{name}")


class executing:
    """`with executing(context):` makes the context the current request of this thread."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Token[Context | None] | None = None

    def __enter__(self) -> Context:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
