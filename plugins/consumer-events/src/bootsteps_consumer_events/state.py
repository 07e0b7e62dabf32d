"""The cluster as its events tell of it: workers and tasks, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from bootsteps_consumer_events.tasks import Task as OneTask
from bootsteps_consumer_events.workers import Worker as OneWorker

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["Index", "State"]

R = TypeVar("R")


class Index:
    """Tasks by something: `state.tasks_by_type["proj.add"]` is a set, `state.tasks_by_type("proj.add")` is in order."""

    def __init__(self, state: State, key_of: Callable[[OneTask], str | None]) -> None:
        self._state = state
        self._key_of = key_of

    def __getitem__(self, key: str) -> set[OneTask]:
        return {task for task in self._state.tasks.values() if self._key_of(task) == key}

    def __call__(self, key: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, OneTask]]:
        """Yield (uuid, task), the latest first unless `reverse` is false."""
        found = self._state.tasks_by_time(reverse=reverse)
        return islice(((uuid, task) for uuid, task in found if self._key_of(task) == key), limit)

    def keys(self) -> list[str]:
        """Return every key that some task has."""
        return sorted({key for task in self._state.tasks.values() if (key := self._key_of(task)) is not None})


class State:
    """Hand it every event: `Receiver(connection, handlers={"*": state.event})`. Safe from any thread.

    The arguments are those of Celery's `app.events.State`; the oldest workers and tasks are forgotten when there are
    more than `max_workers_in_memory` and `max_tasks_in_memory`. `callback(state, event)` is called for each event,
    `on_node_join(worker)` and `on_node_leave(worker)` for workers that come and go.
    """

    Worker: type[OneWorker] = OneWorker
    Task: type[OneTask] = OneTask
    app: App | None = None

    def __init__(
        self,
        callback: Callable[[State, dict[str, Any]], object] | None = None,
        workers: Mapping[str, OneWorker] | None = None,
        tasks: Mapping[str, OneTask] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[OneWorker], object] | None = None,
        on_node_leave: Callable[[OneWorker], object] | None = None,
    ) -> None:
        self.event_callback = callback
        self.workers: OrderedDict[str, OneWorker] = OrderedDict(workers or {})
        self.tasks: OrderedDict[str, OneTask] = OrderedDict(tasks or {})
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        #: How many events came, and how many tasks were received.
        self.event_count = 0
        self.task_count = 0
        #: By group of events: functions `f(subject, event)` of your own.
        self.handlers: dict[str, Callable[[str, dict[str, Any]], Any]] = {}
        self.tasks_by_type = Index(self, lambda task: task.name)
        self.tasks_by_worker = Index(self, lambda task: task.worker.hostname if task.worker is not None else None)
        self._seen_types: set[str] = set()
        #: Tasks whose parent is not known yet, by its id.
        self._orphans: OrderedDict[str, WeakSet[OneTask]] = OrderedDict()
        self._mutex = threading.RLock()

    def event(self, event: dict[str, Any]) -> Any:
        """Take an event into account; return ((worker or task, whether it is new), subject), None for others."""
        with self._mutex:
            self.event_count += 1
            if self.event_callback is not None:
                self.event_callback(self, event)
            group, _, subject = event["type"].partition("-")
            if group in self.handlers:
                return self.handlers[group](subject, event), subject
            if group == "worker" and {"hostname", "timestamp", "local_received"} <= event.keys():
                return self._of_worker(subject, event), subject
            if group == "task" and {"uuid", "hostname", "timestamp"} <= event.keys():
                return self._of_task(subject, event), subject
            return None

    def _of_worker(self, subject: str, event: dict[str, Any]) -> tuple[OneWorker, bool]:
        if subject == "offline" and event["hostname"] not in self.workers:
            worker, created = self.Worker(event["hostname"]), False
        else:
            worker, created = self.get_or_create_worker(event["hostname"])
        worker.event(subject, event["timestamp"], event["local_received"], event)
        if self.on_node_join is not None and (created or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave is not None and subject == "offline":
            self.on_node_leave(worker)
            self.workers.pop(worker.hostname, None)
        return worker, created

    def _of_task(self, subject: str, event: dict[str, Any]) -> tuple[OneTask, bool]:
        task, created = self.get_or_create_task(event["uuid"])
        if subject == "sent":
            task.client = event["hostname"]
        else:
            task.worker, _ = self.get_or_create_worker(event["hostname"])
            task.worker.event("", event["timestamp"], event.get("local_received"))
        self.task_count += subject == "received"
        task.event(subject, event["timestamp"], event.get("local_received"), event)
        if task.name is not None:
            self._seen_types.add(task.name)
        self._relate(task)
        return task, created

    def _relate(self, task: OneTask) -> None:
        """Note whose child it is, and who are its own."""
        if task.parent_id:
            parent = self.tasks.get(task.parent_id)
            if parent is not None:
                parent.children.add(task)
            else:
                self._orphans.setdefault(task.parent_id, WeakSet()).add(task)
                _bound(self._orphans, self.max_tasks_in_memory)
        task.children.update(self._orphans.pop(task.uuid, ()))

    def get_or_create_worker(self, hostname: str, **fields: Any) -> tuple[OneWorker, bool]:
        """Return a worker, and whether it is new."""
        worker = self.workers.get(hostname)
        if worker is not None:
            worker.update(fields)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **fields)
        _bound(self.workers, self.max_workers_in_memory)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[OneTask, bool]:
        """Return a task, and whether it is new."""
        task = self.tasks.get(uuid)
        if task is not None:
            return task, False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        _bound(self.tasks, self.max_tasks_in_memory)
        return task, True

    def alive_workers(self) -> Iterator[OneWorker]:
        """Yield the workers whose heartbeat is not overdue."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    def task_types(self) -> list[str]:
        """Return the names of all tasks that were ever seen."""
        return sorted(self._seen_types)

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, OneTask]]:
        """Yield (uuid, task), in the order in which they became known."""
        return islice(list(self.tasks.items()), limit)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, OneTask]]:
        """Yield (uuid, task) by logical clock and time, the latest first unless `reverse` is false."""
        with self._mutex:
            found = sorted(self.tasks.items(), key=lambda item: _moment(item[1]), reverse=reverse)
        return islice(found, limit)

    tasks_by_timestamp = tasks_by_time

    def freeze_while(self, fun: Callable[..., R], *args: Any, clear_after: bool = False, **kwargs: Any) -> R:
        """Call a function while no event changes anything; forget everything afterwards with `clear_after`."""
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self.clear()

    def clear(self, ready: bool = True) -> None:
        """Forget all workers, and all tasks but those that are not over; with `ready=False` these too."""
        with self._mutex:
            self.workers.clear()
            self.clear_tasks(ready)
            self.event_count = self.task_count = 0

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the tasks that are over; with `ready=False` all."""
        with self._mutex:
            kept = [(uuid, task) for uuid, task in self.tasks.items() if ready and not task.ready]
            self.tasks.clear()
            self.tasks.update(kept)

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"


def _bound(found: OrderedDict[str, Any], most: int) -> None:
    while len(found) > most:
        found.popitem(last=False)


def _moment(task: OneTask) -> tuple[int, float, str]:
    return task.clock or 0, task.timestamp or 0.0, task.uuid
