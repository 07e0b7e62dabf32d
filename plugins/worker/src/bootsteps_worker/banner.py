"""What a worker says of itself before it starts."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bootsteps import App, __version__

__all__ = ["banner", "is_for_a_person"]

#: These have a line each, the others one for each of theirs.
SHORT = ("app", "transport", "results")


def is_for_a_person(app: App) -> bool:
    """Tell whether somebody may read along: who logs to a file, or JSON, or detaches the worker, does not."""
    return not any(app.conf.get(name, None) for name in ("worker_logfile", "worker_log_json", "worker_detach"))


def banner(worker: Any) -> str:
    """Return the text: node, versions, system, and what the application tells (`app.banner()`); no passwords."""
    tell = getattr(worker.app, "banner", None)
    facts: Mapping[str, Sequence[str]] = tell() if tell else {"app": [worker.app.main or "default"]}
    return "\n".join(_lines(worker, facts))


def _lines(worker: Any, facts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    conf = worker.app.conf
    user = ", root" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    here = os.uname()  # not platform.platform(), which starts a program and reads Python's whole file
    system = f"{here.sysname}-{here.release}-{here.machine}"
    yield f"{worker.hostname}  bootsteps {__version__}, Python {platform.python_version()}, {system}{user}"
    yield ""
    yield "[config]"
    for name in SHORT:
        if name in facts:
            yield f"  {name + ':':<13}{facts[name][0]}"
    yield f"  {'concurrency:':<13}{_concurrency(worker)}"
    yield f"  {'events:':<13}{'on' if conf.get('worker_send_task_events', False) else 'off'}"
    yield f"  {'steps:':<13}{len(worker.blueprint.order)}, see kernel graph"
    for name in (name for name in facts if name not in SHORT and facts[name]):
        if name != "tasks" or conf.get("worker_log_level", "WARNING") in ("DEBUG", "INFO"):
            yield ""
            yield f"[{name}]"
            yield from (f"  {line}" for line in facts[name])
    yield ""


def _concurrency(worker: Any) -> str:
    conf = worker.app.conf
    scale = conf.get("worker_autoscale", None)
    chosen = next((c.cls.choice for c in worker.blueprint.plan.order if "pool" in c.lends), "no pool")
    size = f"{scale[0]} to {scale[1]}" if scale else conf.get("worker_concurrency", None) or "as the pool chooses"
    return f"{size} ({chosen})"
