"""How a request is told to those who ask from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps_consumer_tasks.snapshots import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["flag", "request_of"]


def request_of(known: Known, hostname: str, safe: bool = False) -> dict[str, Any]:
    """Return what Celery tells of a request; with `safe`, or where JSON cannot hold them, the arguments as text."""
    args, kwargs = _arguments(known, safe)
    return {
        "id": known.headers.id,
        "name": known.headers.name,
        "args": args,
        "kwargs": kwargs,
        "type": known.headers.name,
        "hostname": hostname,
        "time_start": known.time_start,
        "acknowledged": known.acknowledged,
        "delivery_info": dict(known.delivery_info),
        "worker_pid": known.worker_pid,
    }


def _arguments(known: Known, safe: bool) -> tuple[list[Any] | str, Mapping[str, Any] | str]:
    texts = known.headers.argsrepr, known.headers.kwargsrepr
    if safe:
        return texts
    from bootsteps_tasks.message import InvalidMessage

    try:
        args, kwargs = known.arguments()
    except InvalidMessage:
        return texts
    return (args, kwargs) if _travels(args) and _travels(kwargs) else texts


def _travels(value: Any) -> bool:
    """A reply is JSON: arguments that came as something else may hold anything."""
    from kombu.utils.json import dumps

    try:
        dumps(value)
    except Exception:  # whatever the value's own code raises
        return False
    return True


def flag(value: Any) -> bool:
    """Return a flag as it is written on a command line. Raises ValueError."""
    found = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    word = str(value).lower()
    if word not in found:
        raise ValueError(f"it is true or false, not {value!r}")
    return found[word]
