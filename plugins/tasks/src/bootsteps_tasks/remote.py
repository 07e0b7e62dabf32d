"""Exceptions on the wire (wire reference 15.2)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from bootsteps_tasks import errors
from bootsteps_tasks.errors import TaskError

__all__ = ["exception_from_meta", "exception_to_meta"]

PLAIN = (str, int, float, bool, type(None))


def exception_to_meta(exc: BaseException) -> dict[str, Any]:
    """Return `{exc_type, exc_message, exc_module}`; an argument that JSON cannot hold becomes its repr."""
    kind = type(exc)
    module = kind.__dict__.get("exc_module") or kind.__module__
    return {"exc_type": kind.__qualname__, "exc_message": [_plain(arg) for arg in exc.args], "exc_module": module}


def _plain(value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    from kombu.utils.json import dumps

    try:
        dumps(value)
    except Exception:
        # Whatever the value's own code raises: the failure that is being told matters more.
        return _repr(value)
    return value


def _repr(value: Any) -> str:
    from bootsteps_tasks.repr import bounded_repr

    return bounded_repr(value)


def exception_from_meta(found: Any) -> BaseException:
    """Return the exception that a result stands for.

    Its class is looked up among those of this package, then in the module of that name if it is imported already
    (nothing is imported for a message); else it is a class of that name below `TaskError`. What is no exception's
    description comes back as the text of a `TaskError`.
    """
    if isinstance(found, BaseException):
        return found
    if not isinstance(found, Mapping) or not isinstance(found.get("exc_type"), str):
        return TaskError(found)
    cls = _class_of(found["exc_type"], found.get("exc_module"))
    message = found.get("exc_message")
    args = tuple(message) if isinstance(message, list | tuple) else () if message is None else (message,)
    try:
        return cls(*args)
    except Exception:
        # A constructor that wants other arguments than the exception kept.
        return _unknown(found["exc_type"], str(found.get("exc_module") or ""))(*args)


def _class_of(name: str, module: Any) -> type[BaseException]:
    ours = getattr(errors, name, None) if name in errors.__all__ else None
    if ours is not None and module in (ours.exc_module, errors.__name__):
        return ours  # type: ignore[no-any-return]
    found = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    # A message may name any object: only exceptions are ever called, and none that would end the process.
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return _unknown(name, str(module or ""))


@cache
def _unknown(name: str, module: str) -> type[TaskError]:
    return type(name.rpartition(".")[2], (TaskError,), {"__module__": module or errors.__name__})
