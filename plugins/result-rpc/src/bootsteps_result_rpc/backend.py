"""The result backend `rpc`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps.errors import KernelError
from bootsteps_result_rpc.inbox import WHERE, Inbox
from bootsteps_tasks.backend import encode_result
from bootsteps_tasks.encoding import TaskMessage, serialized
from bootsteps_tasks.process import PerProcess
from bootsteps_tasks.publisher import Publisher, Sent
from bootsteps_tasks.routing import Route

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["RpcBackend"]


class RpcBackend:
    """Sends each result to the process that asked for the task, by the broker (wire reference 15.5).

    Nobody else can read it. A task that nobody waits for any more is answered into a queue that vanishes. Safe from
    any thread. Raises `KernelError` when the broker cannot be reached for 15 s.
    """

    #: Whoever asks for a task must name the queue for its answer.
    replies = True
    #: Why there can be no chords: those who count the parts cannot read each other's results.
    no_chords = "the answers of rpc:// are for the client alone"

    def __init__(self, app: App, url: str) -> None:
        conf = app.conf
        self._serializer: str = conf["result_serializer"]
        accept = conf["result_accept_content"]
        accepted = {self._serializer, *(conf["accept_content"] if accept is None else accept)}
        self._delivery_mode = 2 if conf["result_persistent"] else 1
        self._inbox = PerProcess(lambda: Inbox(app, sorted(accepted)))
        self._publisher = PerProcess(lambda: Publisher(app.connection))

    @property
    def reply_to(self) -> str:
        """The name of this process's queue; it is there when you have the name."""
        inbox = self._inbox.get()
        inbox.open()
        return inbox.name

    def store(self, metas: Sequence[Mapping[str, Any]]) -> None:
        """Send a batch of answers; those of tasks that want none are dropped."""
        batch = [self._answer(meta, reply_to) for meta in metas if (reply_to := getattr(meta, "reply_to", None))]
        if batch:
            self._publisher.get().publish_many(batch, answers=True)

    def _answer(self, meta: Mapping[str, Any], reply_to: str) -> Sent:
        correlation_id = getattr(meta, "correlation_id", None) or meta["task_id"]
        found, _ = encode_result(meta, self._serializer)
        body, content_type, encoding = serialized(dict(found), self._serializer)
        properties = {"correlation_id": correlation_id, "delivery_mode": self._delivery_mode}
        message = TaskMessage(meta["task_id"], "", body, content_type, encoding, {}, properties, 0)
        return Sent(message, Route("", reply_to))

    def get(self, task_id: str) -> dict[str, Any] | None:
        """Return the last answer of the task, None when none came."""
        return self.get_many((task_id,)).get(task_id)

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the answers that came."""
        return self._inbox.get().peek(tuple(ids))

    def wait(self, ids: Collection[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
        """Return those that are ready as soon as there is one; empty after `timeout` seconds."""
        return self._inbox.get().wait(tuple(ids), timeout)

    def forget(self, task_id: str) -> None:
        """Drop the answer."""
        self._inbox.get().forget(task_id)

    def save_group(self, group_id: str, found: Any) -> None:
        """Raise `KernelError`: there is no place for it."""
        raise KernelError("the result backend rpc cannot save a group", WHERE, "set result_backend to one that can")

    def restore_group(self, group_id: str) -> Any | None:
        """Return None: nothing can have been saved."""

    def delete_group(self, group_id: str) -> None:
        """Nothing is there."""

    def close(self) -> None:
        """Delete the queue of answers, close the connections; both are made anew when used."""
        inbox, publisher = self._inbox.drop(), self._publisher.drop()
        for held in (inbox, publisher):
            if held is not None:
                held.close()
