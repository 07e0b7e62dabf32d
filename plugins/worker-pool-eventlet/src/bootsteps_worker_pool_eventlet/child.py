"""What a child does. Imported only there, after eventlet has patched the standard library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eventlet
import eventlet.hubs

from bootsteps import Runner
from bootsteps_pool_processes.green import green
from bootsteps_pool_processes.nature import Equipment

__all__ = ["work"]


class _Eventlet:
    """Implements `Greens`."""

    def spawn(self, call: Callable[..., Any], *args: Any) -> Any:
        return eventlet.spawn(call, *args)

    def current(self) -> Any:
        return eventlet.getcurrent()

    def throw(self, greenlet: Any, error: BaseException) -> None:
        eventlet.hubs.get_hub().schedule_call_global(0, greenlet.throw, error)

    def call_later(self, secs: float, call: Callable[..., Any], *args: Any) -> Callable[[], object]:
        timer = eventlet.hubs.get_hub().schedule_call_global(secs, call, *args)
        cancel: Callable[[], object] = timer.cancel
        return cancel


def work(equipment: Equipment, runner: Runner) -> None:
    """Run until the pool closes the socket, or the child's share is used up."""
    green(equipment, runner, _Eventlet())
