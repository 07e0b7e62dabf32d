"""The worker step `Autoscaler`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bootsteps import POOL, REQUESTS, TIMER, Demand, Setting, Settings, StartStopStep, WorkerView
from bootsteps_autoscaler.keys import AUTOSCALER, KEEPALIVE_S

if TYPE_CHECKING:
    from bootsteps_autoscaler.scaler import Autoscaler

__all__ = ["AUTOSCALE", "AutoscalerStep"]

#: The longest time between two looks, in seconds.
LOOK_S = 0.5
CELERYS = "celery.worker.autoscale:Autoscaler"
OURS = "bootsteps_autoscaler:Autoscaler"


def _range(value: Any) -> tuple[int, int]:
    """Two numbers in any order, as text or not; one is the larger, with 0 as the smaller."""
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    numbers = sorted(int(word) for word in words)
    if not 1 <= len(numbers) <= 2 or numbers[0] < 0 or numbers[-1] < 1:
        raise ValueError("it is the most and the fewest children, e.g. 10,3")
    return numbers[-1], numbers[0] if len(numbers) == 2 else 0


def _path(value: Any) -> Any:
    """A class, or where it is: `module:Class`, or `module.Class` as in Celery."""
    if not isinstance(value, str):
        if callable(value):
            return value
        raise ValueError("it is a class, or module:Class")
    return OURS if value.replace(":", ".") == CELERYS.replace(":", ".") else value


def _keepalive(value: Any) -> float:
    number = float(value)
    if not number > 0:
        raise ValueError("it is a number of seconds above 0")
    return number


AUTOSCALE = Setting[tuple[int, int] | None](
    "worker_autoscale",
    _range,
    None,
    flags=("--autoscale",),
    help="MAX,MIN: let the pool have so many children, as work comes and goes",
)
SCALER = Setting[Any]("worker_autoscaler", _path, OURS, flags=(), help="the class that decides, as module:Class")
KEEPALIVE = Setting[float](
    "worker_autoscale_keepalive",
    _keepalive,
    KEEPALIVE_S,
    unit="s",
    flags=(),
    help="how long children that are not needed are kept",
)


class AutoscalerStep(StartStopStep):
    """Gives the pool as many children as the work needs, within a range."""

    name = "Autoscaler"
    provides = (AUTOSCALER,)
    requires = (POOL, TIMER, REQUESTS)
    settings = (AUTOSCALE, SCALER, KEEPALIVE)

    @classmethod
    def demands(cls, settings: Settings) -> Iterable[Demand]:
        """A pool that can grow and shrink: else an error at boot."""
        asked = settings.get(AUTOSCALE)
        if asked is not None:
            because = f"worker_autoscale = {asked[0]},{asked[1]}"
            yield from (Demand(POOL, capability, because) for capability in ("grow", "shrink"))

    def include_if(self, worker: WorkerView) -> bool:
        return worker.setting(AUTOSCALE) is not None

    def create(self, worker: WorkerView) -> Autoscaler:
        from pkgutil import resolve_name

        asked, kind = worker.setting(AUTOSCALE), worker.setting(SCALER)
        assert asked is not None, "include_if has looked"
        make = resolve_name(kind) if isinstance(kind, str) else kind
        made: Autoscaler = make(worker.get(POOL), *asked, worker=worker, keepalive=worker.setting(KEEPALIVE))
        made.fit()  # the pool has not started, so no child is made in vain
        return made

    def start(self, worker: WorkerView) -> None:
        every = min(LOOK_S, self.obj.keepalive)
        worker.on_stop(worker.timer.call_repeatedly(every, self.obj.maybe_scale).cancel)

    def stop(self, worker: WorkerView) -> None:
        """Nothing more: the timer's entry is cancelled where it is made."""

    def info(self, worker: WorkerView) -> dict[str, Any]:
        return {"autoscaler": self.obj.info()}
