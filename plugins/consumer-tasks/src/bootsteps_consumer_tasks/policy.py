"""What a task's options and the settings say of the acknowledgement when things go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks import Task

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a late-acknowledged task is settled when it ends badly."""

    #: Else a failed task is rejected, and the broker drops it or dead-letters it.
    acks_on_failure: bool = True
    #: Else a task killed at its hard limit is tried again.
    acks_on_timeout: bool = True
    #: Else a task whose child died has failed.
    again_when_lost: bool = True

    @classmethod
    def of(cls, task: Task[..., Any] | None) -> Policy:
        """Return what holds for a task, whose options read the settings. Both ways to go on after a loss are one."""
        if task is None:
            return cls()
        again = bool(task.retry_on_worker_lost) or task.reject_on_worker_lost is not False
        return cls(bool(task.acks_on_failure), bool(task.acks_on_timeout), again)
