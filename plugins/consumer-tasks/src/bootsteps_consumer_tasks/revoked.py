"""Which tasks are revoked: by id, and by the stamps in their headers."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["EXPIRES_S", "LIMIT", "Revoked", "Stamps"]

#: Celery's numbers (wire reference 17): how many ids are kept, and for how many seconds.
LIMIT, EXPIRES_S = 50_000, 10_800.0

#: Stamp name to the values that are revoked.
Stamps = dict[str, set[str]]
#: Called with the ids and the stamps that were just revoked.
Watcher = Callable[[list[str], Stamps], object]


class Revoked:
    """The revoked ids of this worker, and the revoked stamps. Outlives connections; loop thread only."""

    def __init__(
        self, limit: int = LIMIT, expires_s: float = EXPIRES_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.expires_s = expires_s
        self._clock = clock
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._stamps: Stamps = {}
        self._watchers: list[Watcher] = []

    def __bool__(self) -> bool:
        """False when no task can be revoked: spares the look-up."""
        return bool(self._ids or self._stamps)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, task_id: str) -> bool:
        added = self._ids.get(task_id)
        return added is not None and self._clock() - added < self.expires_s

    def watch(self, watcher: Watcher) -> None:
        """Have a function told of what is revoked from now on: a list of ids, and stamps."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more."""
        self._watchers.remove(watcher)

    def add(self, task_id: str, age_s: float = 0.0) -> None:
        """Note an id, revoked so many seconds ago; the oldest ones are forgotten beyond the limit."""
        self._ids[task_id] = self._clock() - age_s
        self._ids.move_to_end(task_id)
        self._purge()
        self._tell([task_id], {})

    def update(self, ids: Iterable[str]) -> None:
        """Note the ids that another worker knows, oldest first."""
        for task_id in ids:
            if isinstance(task_id, str):
                self.add(task_id)

    def _tell(self, ids: list[str], stamps: Stamps) -> None:
        for watcher in self._watchers:
            watcher(ids, stamps)

    def snapshot(self) -> list[str]:
        """The ids, oldest first."""
        self._purge()
        return list(self._ids)

    def add_stamps(self, stamps: Mapping[str, Iterable[str]]) -> None:
        """Revoke every task that has one of these stamps with one of these values."""
        for name, values in stamps.items():
            self._stamps.setdefault(name, set()).update(values)
        self._tell([], {name: set(values) for name, values in stamps.items()})

    def stamps(self) -> Mapping[str, Sequence[str]]:
        """The revoked stamps."""
        return {name: sorted(values) for name, values in sorted(self._stamps.items())}

    def covers(self, task_id: str, headers: Mapping[str, Any]) -> bool:
        """Tell whether a task with these message headers is revoked."""
        return task_id in self or (bool(self._stamps) and stamped(headers, self._stamps))

    def _purge(self) -> None:
        before = self._clock() - self.expires_s
        while self._ids:
            task_id, added = next(iter(self._ids.items()))
            if added > before and len(self._ids) <= self.limit:
                return
            del self._ids[task_id]


def stamped(headers: Mapping[str, Any], wanted: Mapping[str, set[str]]) -> bool:
    """Tell whether message headers hold one of the wanted stamps; a stamp's value may be a list."""
    stamps = headers.get("stamps")
    if not stamps or not isinstance(stamps, Mapping):
        return False
    for name, values in wanted.items():
        found = stamps.get(name)
        if found is None:
            continue
        several = found if isinstance(found, list | tuple | set) else (found,)
        if any(str(value) in values for value in several):
            return True
    return False
