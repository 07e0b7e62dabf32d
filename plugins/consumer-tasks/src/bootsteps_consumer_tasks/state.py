"""`worker.state`, as plugins for Celery read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootsteps_consumer_tasks.ledger import Ledger
    from bootsteps_consumer_tasks.revoked import Revoked
    from bootsteps_consumer_tasks.snapshots import Known, Snapshots

__all__ = ["WorkerState"]


class WorkerState:
    """What is where in this worker, read anew at each look, by the names in Celery's `celery.worker.state`.

    The collections are snapshots: who wants something changed asks the service `task_control`. Loop thread only.
    """

    def __init__(self, ledger: Ledger, snapshots: Snapshots, revoked: Revoked) -> None:
        self._ledger = ledger
        self._snapshots = snapshots
        #: The revoked ids: `in`, `add`, `update`.
        self.revoked = revoked

    @property
    def requests(self) -> dict[str, Known]:
        """Every request that is here and not settled, by its id."""
        return {request.id: request for request in (*self.reserved_requests, *self.scheduled_requests)}

    @property
    def active_requests(self) -> Sequence[Known]:
        """Those that are executed."""
        return self._snapshots.active()

    @property
    def reserved_requests(self) -> Sequence[Known]:
        """Those that are executed, and those that have their turn."""
        return [*self._snapshots.active(), *self._snapshots.reserved()]

    @property
    def scheduled_requests(self) -> Sequence[Known]:
        """Those that wait for their ETA."""
        return self._snapshots.scheduled()

    @property
    def revoked_stamps(self) -> Mapping[str, Sequence[str]]:
        """The revoked values of each stamp."""
        return self.revoked.stamps()

    @property
    def total_count(self) -> dict[str, int]:
        """How many tasks were started, by name."""
        return self._ledger.started()

    @property
    def all_total_count(self) -> list[int]:
        """How many tasks were started, in a list of one."""
        return [sum(self.total_count.values())]
