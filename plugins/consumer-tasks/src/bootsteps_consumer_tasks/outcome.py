"""What a pool child tells the parent of a task that it ran: the little that the parent needs."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from bootsteps_tasks.message import TaskHeaders

__all__ = ["PLAIN", "Report", "succeeded"]

log = logging.getLogger("worker.Requests")


#: How a packed report begins that says no more than SUCCESS and a text. JSON's begin with `[`.
PLAIN = b"+"


def succeeded(headers: TaskHeaders, runtime_s: float, text: str) -> tuple[str, str, str, float, str]:
    """Return what the log says of a task that succeeded: message and arguments."""
    return "Task %s[%s] succeeded in %.6fs: %s", headers.name, headers.id, runtime_s, text


@dataclass(slots=True)
class Report:
    """The state that was stored, and a line about it."""

    #: SUCCESS, FAILURE, RETRY, IGNORED, REJECTED or REQUEUED.
    state: str
    #: The result's or the exception's repr, shortened.
    text: str = ""
    traceback: str = ""
    #: The soft limit in seconds, if the task was told that it is over.
    soft_limit_s: float | None = None
    #: The repr of the exception that led to a RETRY, and of the one that a REJECTED task raised.
    cause: str = ""

    def pack(self) -> bytes:
        """Return it as bytes."""
        if self.state == "SUCCESS" and self.soft_limit_s is None:
            return PLAIN + self.text.encode(errors="backslashreplace")
        told = (self.state, self.text, self.traceback, self.soft_limit_s)
        return json.dumps((*told, self.cause) if self.cause else told).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Report:
        """The reverse of `pack`."""
        return cls("SUCCESS", packed[1:].decode()) if packed[:1] == PLAIN else cls(*json.loads(packed))

    def log(self, headers: TaskHeaders, runtime_s: float) -> None:
        """Write what the log says of the task: one line, and a warning if it reached its soft limit."""
        name, task_id, state = headers.name, headers.id, self.state
        if self.soft_limit_s is not None:
            log.warning("Task %s[%s] reached its soft time limit of %g s", name, task_id, self.soft_limit_s)
        if state == "SUCCESS":
            log.info(*succeeded(headers, runtime_s, self.text))
        elif state == "FAILURE":
            self._log_failure(name, task_id)
        else:
            log.info("Task %s[%s] %s: %s", name, task_id, state.lower(), self.text)

    def _log_failure(self, name: str, task_id: str) -> None:
        if self.traceback:
            log.error("Task %s[%s] raised %s\n%s", name, task_id, self.text, self.traceback)
        else:
            log.info("Task %s[%s] raised, as it may: %s", name, task_id, self.text)
