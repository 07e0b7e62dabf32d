"""What a running task knows about the message that asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks.message import TaskHeaders

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
    ) -> Context:
        """Return the context of a message."""
        return cls(
            id=found.id,
            task=found.name,
            args=args,
            kwargs=kwargs,
            retries=found.retries,
            delivery_info=delivery_info,
            hostname=hostname,
            headers=headers,
            root_id=found.root_id,
            parent_id=found.parent_id,
            group=found.group,
            group_index=found.group_index,
            eta=_text(found.eta),
            expires=_text(found.expires),
            timelimit=found.timelimit,
            reply_to=found.reply_to,
            correlation_id=found.correlation_id,
            origin=found.origin,
            shadow=found.shadow,
            ignore_result=found.ignore_result,
            argsrepr=found.argsrepr,
            kwargsrepr=found.kwargsrepr,
            callbacks=embed.get("callbacks"),
            errbacks=embed.get("errbacks"),
            chain=embed.get("chain"),
            chord=embed.get("chord"),
            called_directly=False,
        )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


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
