"""What a running task knows about the message that asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

__all__ = ["Context", "current_request", "executing"]


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
    called_directly: bool = True


_current: ContextVar[Context | None] = ContextVar("bootsteps_tasks_request", default=None)


def current_request() -> Context | None:
    """Return the request that this thread (or coroutine) is executing."""
    return _current.get()


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
