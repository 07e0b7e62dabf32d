"""A pool that tells of what it is given."""

from __future__ import annotations

from collections.abc import Sequence

from bootsteps import Job
from bootsteps_pool_processes.wide import ConcurrentPool

__all__ = ["Told"]


class Told(ConcurrentPool):
    """Tells of each job, as Celery's pool of this name does."""

    def submit(self, jobs: Sequence[Job]) -> None:
        super().submit(jobs)
        for job in jobs:
            self._announce("eventlet_pool_apply", pool=self, job=job)
