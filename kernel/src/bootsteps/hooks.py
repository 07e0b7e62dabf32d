"""Hooks: announcements in the past tense, heard by steps and by `kernel.hooks` plugins.

Every hook of the house is specified here. A listener takes as many of the arguments as it wants, by name. It cannot
change what happened; if it fails, that is logged with its name and the others still hear.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from bootsteps.errors import KernelError

if TYPE_CHECKING:
    from bootsteps.services import RunningRequest

__all__ = ["Hooks", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("bootsteps")
hookimpl = pluggy.HookimplMarker("bootsteps")
log = logging.getLogger("bootsteps.hooks")


@hookspec
def step_started(blueprint: str, step: str, seconds: float) -> None:
    """A step of a blueprint has started and took so many seconds."""


@hookspec
def step_stopped(blueprint: str, step: str) -> None:
    """A step of a blueprint has stopped."""


@hookspec
def step_failed(blueprint: str, step: str, action: str, error: BaseException) -> None:
    """A step raised while it started, closed or stopped."""


@hookspec
def worker_ready(worker: Any) -> None:
    """The worker has started and consumes."""


@hookspec
def worker_stopping(worker: Any, how: str) -> None:
    """The worker takes no new work; `how` is `warm` or `cold`."""


@hookspec
def connection_established(url: str) -> None:
    """The consumer is connected; the URL is without its password."""


@hookspec
def connection_lost(url: str, error: BaseException) -> None:
    """The consumer's connection broke and will be made anew."""


@hookspec
def task_received(id: str, name: str) -> None:
    """A task message came and was accepted."""


@hookspec
def task_settled(request: RunningRequest, state: str, runtime_s: float) -> None:
    """A task is finished, its result stored and its message acknowledged."""


@hookspec
def child_lost(pid: int, reason: str) -> None:
    """A pool child died without being told to."""


@hookspec
def pool_resized(size: int) -> None:
    """The pool has another number of children than before."""


class Hooks:
    """Calls the listeners, each on its own."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("bootsteps")
        self._manager.add_hookspecs(sys.modules[__name__])
        self._listeners: dict[str, tuple[tuple[str, Callable[..., Any], Sequence[str]], ...]] = {}

    def register(self, plugin: object, name: str) -> None:
        """Let the plugin's `@hookimpl` methods hear. Raises `KernelError` for a hook that does not exist."""
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as exc:
            self.unregister(plugin)
            raise KernelError(
                str(exc).replace(repr(plugin), name), (name,), "see bootsteps.hooks for the hooks and their arguments"
            ) from exc
        self._listeners.clear()

    def unregister(self, plugin: object) -> None:
        """Let the plugin hear no more; nothing happens if it did not."""
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)
            self._listeners.clear()

    def announce(self, hook: str, **facts: Any) -> None:
        """Tell every listener of this hook."""
        for name, listener, wanted in self.listeners(hook):
            try:
                listener(*[facts[argument] for argument in wanted])
            except Exception:
                log.exception("listener %s of %s failed", name, hook)

    def listeners(self, hook: str) -> tuple[tuple[str, Callable[..., Any], Sequence[str]], ...]:
        """Return (plugin, function, argument names) of each listener; empty = the announcement can be spared."""
        found = self._listeners.get(hook)
        if found is None:
            impls = reversed(getattr(self._manager.hook, hook).get_hookimpls())  # pluggy's order: last in, first called
            found = tuple((impl.plugin_name, impl.function, impl.argnames) for impl in impls)
            self._listeners[hook] = found
        return found
