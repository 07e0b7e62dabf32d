"""The step `StateDB`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bootsteps import TIMER, KernelError, Setting, Step, WorkerView
from bootsteps_consumer_tasks import REVOKED
from bootsteps_statedb.keys import STATEDB

if TYPE_CHECKING:
    from bootsteps_statedb.store import StateDB

__all__ = ["StateDBStep"]

STATE_DB = Setting[str | None](
    "worker_state_db",
    str,
    None,
    flags=("-S", "--statedb"),
    help="keep revoked tasks and the clock in this file over restarts; %p, %n, %h, %d as in --logfile",
)
#: Seconds in which revokes are gathered before they are written.
GATHER_S = 0.05
#: Seconds between two looks whether the clock has gone on.
CLOCK_EVERY_S = 10.0


class StateDBStep(Step):
    """Reads what an earlier run knew, and writes down what is revoked from now on."""

    provides = (STATEDB,)
    requires = (REVOKED, TIMER)
    settings = (STATE_DB,)

    def include_if(self, worker: WorkerView) -> bool:
        return bool(worker.setting(STATE_DB))

    def create(self, worker: WorkerView) -> StateDB:
        from pathlib import Path

        from bootsteps_statedb.store import StateDB
        from bootsteps_worker import expand_path

        path = worker.setting(STATE_DB)
        assert path, "include_if saw to that"
        return StateDB(Path(expand_path(path, worker.hostname)).absolute())

    def start(self, worker: WorkerView) -> None:
        diary = _Diary(worker, self.obj)
        diary.read()
        revoked = worker.get(REVOKED)
        revoked.watch(diary.note)
        worker.on_stop(lambda: revoked.unwatch(diary.note))
        tick = worker.get(TIMER).call_repeatedly(CLOCK_EVERY_S, diary.write)
        worker.on_stop(diary.write)
        worker.on_stop(tick.cancel)

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"path": str(self.obj.path)}


class _Diary:
    """Gathers what the file does not hold yet. Loop thread only."""

    def __init__(self, worker: WorkerView, database: StateDB) -> None:
        self._database = database
        self._revoked = worker.get(REVOKED)
        self._timer = worker.get(TIMER)
        self._clock = worker.app.clock
        self._log = worker.log
        self._ids: dict[str, None] = {}
        self._stamps: dict[str, set[str]] = {}
        self._told = 0
        self._planned = False

    def read(self) -> None:
        """Let the worker know what an earlier one knew."""
        now = time.time()
        self._database.forget(now - self._revoked.expires_s, self._revoked.limit)
        for task_id, at in self._database.revoked():
            self._revoked.add(task_id, max(0.0, now - at))
        self._revoked.add_stamps(self._database.stamps())
        self._told = self._database.clock
        self._clock.adjust(self._told)

    def note(self, ids: list[str], stamps: Mapping[str, set[str]]) -> None:
        """Have it written down soon."""
        if not self._planned:
            self._planned = True
            self._timer.call_after(GATHER_S, self.write)
        self._ids.update(dict.fromkeys(ids))
        for name, values in stamps.items():
            self._stamps.setdefault(name, set()).update(values)

    def write(self) -> None:
        """Write down what is not yet; a full disk is logged, tried again later, and stops nobody."""
        self._planned = False
        clock = self._clock.value
        try:
            if self._ids or self._stamps:
                self._database.note(self._ids, self._stamps)
                self._ids, self._stamps = {}, {}
            if clock != self._told:
                self._database.clock = self._told = clock
        except KernelError as exc:
            self._log.error("%s", exc.what)
