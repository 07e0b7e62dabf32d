"""The results of many tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from bootsteps_tasks.result import AsyncResult, refuse_in_task

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["GroupResult", "ResultSet", "result_from_tuple"]

#: So many are waited for at one time: the cost of one look grows with them.
AT_ONCE = 500


class ResultSet:
    """Some results, of tasks or of groups, in order."""

    def __init__(self, results: Iterable[Any], app: App | None = None) -> None:
        self.results: list[Any] = list(results)
        self._app = app

    @property
    def app(self) -> App:
        """The application that they belong to."""
        from bootsteps_tasks.shared import current_app

        return self._app or next((result.app for result in self.results), None) or current_app()

    def add(self, result: Any) -> None:
        """Add one that is not there yet."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove one. Raises KeyError when it is not there."""
        found = self.app.AsyncResult(result) if isinstance(result, str) else result
        try:
            self.results.remove(found)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Remove one, if it is there."""
        if result in self.results:
            self.results.remove(result)

    def clear(self) -> None:
        """Remove all."""
        self.results.clear()

    def update(self, results: Iterable[Any]) -> None:
        """Add those that are not there yet."""
        for result in results:
            self.add(result)

    def leaves(self) -> list[AsyncResult[Any]]:
        """Return the results of the single tasks."""
        found: list[AsyncResult[Any]] = []
        for result in self.results:
            found += result.leaves() if isinstance(result, ResultSet) else [result]
        return found

    def _look(self) -> list[AsyncResult[Any]]:
        """Return the leaves, after one look at all that were not ready."""
        leaves = self.leaves()
        unknown = [leaf.id for leaf in leaves if not leaf.known]
        metas = self.app.backend.get_many(unknown) if unknown else {}
        for leaf in leaves:
            leaf.seen(metas.get(leaf.id))
        return leaves

    def ready(self) -> bool:
        """Whether all are."""
        return all(leaf.known for leaf in self._look())

    def successful(self) -> bool:
        """Whether all returned."""
        return all(leaf.known and leaf.successful() for leaf in self._look())

    def failed(self) -> bool:
        """Whether one raised."""
        return any(leaf.known and leaf.failed() for leaf in self._look())

    def waiting(self) -> bool:
        """Whether one is not ready."""
        return not self.ready()

    def completed_count(self) -> int:
        """How many returned."""
        return sum(leaf.known and leaf.successful() for leaf in self._look())

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raise the exception of the first that failed."""
        for leaf in self._look():
            if leaf.known:
                leaf.maybe_throw(propagate=propagate, callback=callback)

    maybe_reraise = maybe_throw

    def iter_native(self, timeout: float | None = None, **_: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield `(id, meta object)` of each task as it becomes ready. Raises `TimeoutError`."""
        until = None if timeout is None else monotonic() + timeout
        leaves = {leaf.id: leaf for leaf in self.leaves()}
        for leaf in leaves.values():
            if leaf.known:
                yield leaf.id, leaf.meta
        pending = [leaf.id for leaf in leaves.values() if not leaf.known]
        for start in range(0, len(pending), AT_ONCE):
            left = None if until is None else max(0.0, until - monotonic())
            for found in self.app.results_of(pending[start : start + AT_ONCE], left):
                leaves[found.id].seen(found.meta)
                yield found.id, found.meta

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Wait for all and return their values in order; those of a group in a group are a list.

        `callback(id, value)` is called for each. Raises `TimeoutError`; and, unless `propagate` is off, the first
        exception as soon as it is known.
        """
        if disable_sync_subtasks and not all(leaf.known for leaf in self.leaves()):
            refuse_in_task()
        leaves = {leaf.id: leaf for leaf in self.leaves()}
        for task_id, _ in self.iter_native(timeout):
            value = leaves[task_id].get(propagate=propagate, disable_sync_subtasks=False)
            if callback is not None:
                callback(task_id, value)
        return self._values()

    join_native = join

    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """See `join`."""
        return self.join(timeout, propagate, **options)

    def _values(self) -> list[Any]:
        return [
            result._values() if isinstance(result, ResultSet) else result.get(propagate=False)
            for result in self.results
        ]

    def forget(self) -> None:
        """Delete the results in the backend."""
        for leaf in self.leaves():
            leaf.forget()

    def revoke(
        self,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have none of them run; with `terminate` end by a signal those that do. One message. As `App.revoke`."""
        self.app.revoke([leaf.id for leaf in self.leaves()], terminate, signal, wait, timeout)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __bool__(self) -> bool:
        return bool(self.results)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultSet) and other.results == self.results

    def __hash__(self) -> int:
        return hash(tuple(self.results))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(map(str, self.results))}]>"


class GroupResult(ResultSet):
    """The results of a group, which can be kept under its id."""

    def __init__(
        self, id: str | None = None, results: Iterable[Any] = (), app: App | None = None, parent: Any = None
    ) -> None:
        super().__init__(results, app)
        self.id = id
        self.parent = parent

    @property
    def children(self) -> list[Any]:
        """The results."""
        return self.results

    def as_tuple(self) -> Any:
        """Return it as it is written (wire reference 15.1)."""
        parent = self.parent and self.parent.as_tuple()
        return [[self.id, parent], [result.as_tuple() for result in self.results]]

    def as_list(self) -> list[str]:
        """Return the ids of itself, its parents and its tasks."""
        above = self.parent.as_list() if self.parent is not None else []
        return [*filter(None, [self.id]), *above, *(leaf.id for leaf in self.leaves())]

    def save(self, backend: Any = None) -> None:
        """Keep it in the backend, for `restore`."""
        (backend or self.app.backend).save_group(str(self.id), self.as_tuple())

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: App | None = None) -> GroupResult | None:
        """Return what was kept under an id, None when nothing is."""
        from bootsteps_tasks.shared import current_app

        app = app or current_app()
        found = (backend or app.backend).restore_group(id)
        return None if found is None else result_from_tuple(found, app)

    def delete(self, backend: Any = None) -> None:
        """No longer keep it."""
        (backend or self.app.backend).delete_group(str(self.id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and (other.id, other.results) == (self.id, self.results)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return f"{self.id} [{', '.join(map(str, self.results))}]"


def result_from_tuple(found: Any, app: App | None = None) -> Any:
    """Return the result that is written so (wire reference 15.1)."""
    from bootsteps_tasks.shared import current_app

    app = app or current_app()
    if isinstance(found, AsyncResult | ResultSet):
        return found
    own, members = found
    task_id, parent = own if isinstance(own, Sequence) and not isinstance(own, str) else (own, None)
    parent = parent and result_from_tuple(parent, app)
    if members is None:
        return app.AsyncResult(task_id, parent=parent)
    return GroupResult(task_id, [result_from_tuple(member, app) for member in members], app, parent)
