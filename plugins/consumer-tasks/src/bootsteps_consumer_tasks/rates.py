"""Rate limits: how often tasks of one type may be started by this worker."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps import KernelError

if TYPE_CHECKING:
    from bootsteps_consumer_tasks.ledger import Request
    from bootsteps_tasks import Task

__all__ = ["Buckets", "TokenBucket", "per_second"]

#: Starts per second of what waits for a limit that is no more.
UNLIMITED = 1e6
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def per_second(rate: Any) -> float:
    """Return the starts per second of `"10/s"`, `"10/m"`, `"10/h"` or a number (per second); 0 = no limit.

    Raises ValueError with a sentence for whoever wrote it.
    """
    if rate is None or rate == "":
        return 0.0
    number, _, unit = str(rate).partition("/")
    try:
        found = float(number) / UNITS[unit.strip().lower() or "s"]
    except (KeyError, ValueError):
        found = math.nan
    if isinstance(rate, bool) or not 0 <= found < math.inf:
        raise ValueError(f"a rate limit is a number per second, or such as '10/s', '10/m', '10/h', not {rate!r}")
    return found


class TokenBucket:
    """Fills with `fill_rate` tokens per second up to `capacity`; holds the requests that wait for one."""

    def __init__(self, fill_rate: float, capacity: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.fill_rate = fill_rate
        self.capacity = capacity
        self._clock = clock
        self._tokens = capacity
        self._at = clock()
        self._waiting: OrderedDict[int, Request] = OrderedDict()

    def can_consume(self, tokens: float = 1.0) -> bool:
        """Take tokens if they are there."""
        if tokens <= self._fill() + 1e-9:
            self._tokens -= tokens
            return True
        return False

    def expected_time(self, tokens: float = 1.0) -> float:
        """Return the seconds until so many tokens are there."""
        return max(0.0, tokens - self._fill()) / self.fill_rate

    def _fill(self) -> float:
        now = self._clock()
        self._tokens = min(self.capacity, self._tokens + (now - self._at) * self.fill_rate)
        self._at = now
        return self._tokens

    def add(self, request: Request) -> None:
        """Let a request wait for a token."""
        self._waiting[request.seq] = request

    def pop(self) -> Request:
        """Return the request that waits longest. Raises IndexError."""
        if not self._waiting:
            raise IndexError("no request waits")
        return self._waiting.popitem(last=False)[1]

    def discard(self, seq: int) -> None:
        """Forget a request; nothing happens if it does not wait."""
        self._waiting.pop(seq, None)

    def clear_pending(self) -> None:
        """Forget all that wait."""
        self._waiting.clear()

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def __bool__(self) -> bool:
        return True

    @property
    def contents(self) -> Sequence[Request]:
        """What waits, oldest first."""
        return tuple(self._waiting.values())


class Buckets(Mapping[str, TokenBucket | None]):
    """Task name to bucket; None for a task without a limit, of whatever name. Loop thread only.

    A bucket is of capacity 1, as Celery's: starts are spread evenly, and no burst follows a pause.
    """

    def __init__(self, tasks: Mapping[str, Task[..., Any]], disabled: bool = False) -> None:
        self._tasks = tasks
        self._disabled = disabled
        self._buckets: dict[str, TokenBucket] = {}
        self.reset()

    def reset(self) -> None:
        """Make the buckets anew from the tasks' `rate_limit`; what waits goes on waiting, now for the new ones.

        Raises `KernelError` for a limit that is none, and keeps the buckets as they were.
        """
        made = {name: bucket for name, task in self._tasks.items() if (bucket := self.bucket_for(task)) is not None}
        old, self._buckets = self._buckets, made
        for name, bucket in old.items():
            for request in bucket.contents:
                made.setdefault(name, TokenBucket(UNLIMITED)).add(request)

    def bucket_for(self, task: Task[..., Any]) -> TokenBucket | None:
        """Return a new bucket for a task, None if it has no limit. Raises `KernelError`."""
        if self._disabled:
            return None
        try:
            rate = per_second(task.rate_limit)
        except ValueError as exc:
            raise KernelError(f"task {task.name!r}: {exc}", (), "correct the rate_limit of this task") from exc
        return TokenBucket(rate) if rate else None

    def due(self, most: int) -> Iterator[Request]:
        """Yield up to `most` requests whose turn has come; they wait no more."""
        for bucket in self._waiting():
            while most > 0 and len(bucket) and bucket.can_consume():
                most -= 1
                yield bucket.pop()

    def next_s(self) -> float | None:
        """Return the seconds until some request's turn comes; None when nothing waits."""
        return min((bucket.expected_time() for bucket in self._waiting()), default=None)

    def _waiting(self) -> list[TokenBucket]:
        return [bucket for bucket in self._buckets.values() if len(bucket)]

    def __getitem__(self, name: str) -> TokenBucket | None:
        return self._buckets.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)
