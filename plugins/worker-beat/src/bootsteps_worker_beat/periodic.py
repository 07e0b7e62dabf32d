"""What applications get: `app.add_periodic_task`, `app.on_after_configure`, `app.on_after_finalize`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bootsteps_tasks import App, Signature

__all__ = ["adder", "on_after_configure", "on_after_finalize"]

log = logging.getLogger("beat")


def adder(app: App) -> Callable[..., str]:
    """Return the application's `add_periodic_task`."""
    unnamed: set[str] = set()

    def add_periodic_task(
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Add an entry to `beat_schedule`: a schedule or seconds, and a signature or task. Returns its name."""
        if isinstance(sig, Signature):
            found: Any = sig.clone(args, kwargs or {})
        else:
            found = app.signature(sig if isinstance(sig, str) else sig.name, tuple(args), dict(kwargs or {}))
        key = name or repr(found)
        if name is None and key in unnamed:
            log.warning("two periodic tasks are called %s, and the later one counts: give them names", key)
        unnamed.add(key)
        entry = {
            "schedule": schedule,
            "task": found["task"],
            "args": tuple(found["args"]),
            "kwargs": dict(found["kwargs"]),
            "options": {**found["options"], **options},
        }
        app.conf["beat_schedule"] = {**(app.conf.get("beat_schedule") or {}), key: entry}
        return key

    return add_periodic_task


class _Signal:
    """A hook, connected as Celery's signal of that name."""

    def __init__(self, app: App, hook: str) -> None:
        self._app, self._hook = app, hook

    def connect(self, fun: Any = None, **options: Any) -> Any:
        """Decorate a function that is called with the application as `sender`."""
        if fun is None:
            return self.connect

        def hear(app: App) -> None:
            fun(sender=app, source=app.conf)

        hear.__module__ = fun.__module__  # with which it comes and goes
        self._app.hooks.connect(self._hook, name=f"{fun.__module__}.{fun.__qualname__}")(hear)
        return fun


def on_after_configure(app: App) -> _Signal:
    """Return what `@app.on_after_configure.connect` is."""
    return _Signal(app, "on_after_configure")


def on_after_finalize(app: App) -> _Signal:
    """Return what `@app.on_after_finalize.connect` is."""
    return _Signal(app, "on_after_finalize")
