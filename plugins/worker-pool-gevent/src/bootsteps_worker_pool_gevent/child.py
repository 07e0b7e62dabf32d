"""What a child does. Imported only there, after gevent has patched the standard library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from bootsteps import Runner
from bootsteps_pool_processes.green import green
from bootsteps_pool_processes.nature import Equipment

__all__ = ["work"]


class _Gevent:
    """Implements `Greens`."""

    def spawn(self, call: Callable[..., Any], *args: Any) -> Any:
        return gevent.spawn(call, *args)

    def current(self) -> Any:
        return gevent.getcurrent()

    def throw(self, greenlet: Any, error: BaseException) -> None:
        greenlet.kill(error, block=False)

    def call_later(self, secs: float, call: Callable[..., Any], *args: Any) -> Callable[[], object]:
        timer = gevent.get_hub().loop.timer(secs)
        timer.start(call, *args)
        closing: Callable[[], object] = timer.close
        return closing


def work(equipment: Equipment, runner: Runner) -> None:
    """Run until the pool closes the socket, or the child's share is used up."""
    green(equipment, runner, _Gevent())
