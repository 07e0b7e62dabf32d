"""The queues that a worker consumes from: those it was started with, and those that are added and cancelled later."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps import KernelError, SettingError
from bootsteps.errors import UnknownName, did_you_mean

if TYPE_CHECKING:
    from bootsteps_tasks import App

__all__ = ["TaskQueues", "direct_queue"]


def direct_queue(hostname: str) -> Any:
    """Return the queue of one worker, under the names that Celery gives it."""
    from kombu import Exchange, Queue

    return Queue(f"{hostname}.dq2", Exchange("C.dq2", type="direct"), routing_key=hostname)


class TaskQueues:
    """Kombu queues by name, in the order in which they came. Loop thread only; outlives every connection.

    To begin with `only` these, or all that are configured if it is empty, less those in `without`. Raises `KernelError`
    for a name in `without` that is none of them, and if no queue is left. `further` are consumed from in any case; with
    `purge` all are emptied before the first message is taken.
    """

    def __init__(
        self,
        app: App,
        only: Sequence[str],
        without: Sequence[str] = (),
        further: Sequence[Any] = (),
        purge: bool = False,
    ) -> None:
        self._app = app
        chosen = {queue.name: queue for queue in app.queues(only)}
        _check_excluded(chosen, without)
        self._queues = {name: queue for name, queue in chosen.items() if name not in without}
        self._queues |= {queue.name: queue for queue in further}
        self._purge = purge
        #: Whoever consumes now: (consume, cancel), each called with a queue.
        self._consumer: tuple[Callable[[Any], object], Callable[[Any], object]] | None = None

    def purge_once(self, channel: Any) -> int | None:
        """Delete what waits in all of them, if that is wanted and not done; return how many messages that were."""
        if not self._purge:
            return None
        self._purge = False
        return sum(queue.bind(channel).purge() or 0 for queue in self._queues.values())

    def connect(self, consume: Callable[[Any], object], cancel: Callable[[Any], object]) -> None:
        """Tell of changes from now on."""
        self._consumer = consume, cancel

    def disconnect(self) -> None:
        """Tell nobody any more."""
        self._consumer = None

    def add(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str | None = None,
        routing_key: str | None = None,
        **options: Any,
    ) -> Any:
        """Consume from one queue more; `options` are kombu's of a queue. Returns it, None if it was there already.

        Without an exchange it is the configured queue of that name, else one with an exchange of its own name.
        """
        if queue in self._queues:
            return None
        found = self._made(queue, exchange, exchange_type, routing_key, options)
        self._queues[queue] = found
        if self._consumer is not None:
            self._consumer[0](found)
        return found

    def _made(self, name: str, exchange: Any, exchange_type: Any, routing_key: Any, options: dict[str, Any]) -> Any:
        if exchange is None and exchange_type is None and routing_key is None and not options:
            return self._app.queues([name])[0]
        from kombu import Exchange, Queue

        try:
            place = Exchange(exchange or name, type=exchange_type or "direct")
            return Queue(name, place, routing_key=routing_key or name, **options)
        except (TypeError, ValueError) as exc:
            raise KernelError(f"queue {name!r} cannot be made: {exc}", (), "kombu.Queue has its options") from exc

    def cancel(self, queue: str) -> bool:
        """Consume from a queue no more; what was fetched from it is run. False if it was not there."""
        found = self._queues.pop(queue, None)
        if found is not None and self._consumer is not None:
            self._consumer[1](found)
        return found is not None

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._queues.values()))

    def __len__(self) -> int:
        return len(self._queues)


def _check_excluded(chosen: Collection[str], without: Sequence[str]) -> None:
    """A queue that nobody would consume from is a slip of the pen: what was meant would be consumed."""
    unknown = sorted(set(without) - set(chosen))
    if unknown:
        what = f"{', '.join(map(repr, unknown))} cannot be excluded: the queues are {', '.join(sorted(chosen))}"
        raise UnknownName(
            what, ("setting worker_exclude_queues (-X)",), did_you_mean(unknown[0], chosen) or "leave it out"
        )
    if not set(chosen) - set(without):
        what = f"every queue is excluded: {', '.join(sorted(chosen))}"
        raise SettingError(what, ("setting worker_exclude_queues (-X)",), "leave one to consume from")
