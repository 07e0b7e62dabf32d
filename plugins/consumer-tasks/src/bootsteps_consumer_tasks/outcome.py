"""What a pool child tells the parent of a task that it ran: the little that the parent needs."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from bootsteps_tasks.message import TaskHeaders

__all__ = ["Report"]

log = logging.getLogger("worker.Requests")


@dataclass(frozen=True, slots=True)
class Report:
    """The state that was stored, and a line about it."""

    #: SUCCESS, FAILURE, RETRY, IGNORED, REJECTED or REQUEUED.
    state: str
    #: The result's or the exception's repr, shortened.
    text: str = ""
    traceback: str = ""
    #: The soft limit in seconds, if the task was told that it is over.
    soft_limit_s: float | None = None

    def pack(self) -> bytes:
        """Return it as bytes."""
        return json.dumps((self.state, self.text, self.traceback, self.soft_limit_s)).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Report:
        """The reverse of `pack`."""
        return cls(*json.loads(packed))

    def log(self, headers: TaskHeaders, runtime_s: float) -> None:
        """Write what the log says of the task: one line, and a warning if it reached its soft limit."""
        name, task_id, state = headers.name, headers.id, self.state
        if self.soft_limit_s is not None:
            log.warning("Task %s[%s] reached its soft time limit of %g s", name, task_id, self.soft_limit_s)
        if state == "SUCCESS":
            log.info("Task %s[%s] succeeded in %.6fs: %s", name, task_id, runtime_s, self.text)
        elif state == "FAILURE":
            log.error("Task %s[%s] raised %s\n%s", name, task_id, self.text, self.traceback)
        else:
            log.info("Task %s[%s] %s: %s", name, task_id, state.lower(), self.text)
