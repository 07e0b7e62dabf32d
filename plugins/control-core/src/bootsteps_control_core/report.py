"""What an installation is, as text for a bug report."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bootsteps_tasks.showing import settings_in_use

__all__ = ["report_of"]

#: Distributions whose versions matter besides ours.
OTHERS = ("kombu", "billiard", "amqp", "redis")


def report_of(app: Any) -> str:
    """Return versions, platform and settings; without secrets."""
    settings = settings_in_use(app.conf)
    scheme = str(app.conf.get("broker_url") or "sqlite").partition("://")[0]
    results = str(settings.get("result_backend") or "sqlite")
    lines = [
        "",
        f"software -> {' '.join(_software())}",
        f"platform -> system:{platform.system()} arch:{platform.machine()} kernel version:{platform.release()} "
        f"imp:{platform.python_implementation()}",
        f"settings -> transport:{scheme} results:{results}",
        "",
        *(f"{name}: {value!r}" for name, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"


def _software() -> list[str]:
    found = [f"bootsteps:{_version('bootsteps')}", f"py:{sys.version.split()[0]}"]
    return found + [f"{name}:{number}" for name in OTHERS if (number := _version(name))]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
