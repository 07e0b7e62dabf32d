"""Whoever may write to the broker of a worker that unpickles runs what they like: not as root."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bootsteps import KernelError

__all__ = ["check_root"]

PICKLED = frozenset({"pickle", "application/x-python-serialize"})


def check_root(accepted: Iterable[str], becomes: object = None) -> None:
    """Raise `KernelError` if this process is root, stays root (`becomes` nobody), and unpickles what it is sent.

    The variable C_FORCE_ROOT allows it, as for Celery's worker.
    """
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root and becomes in (None, 0) and PICKLED.intersection(accepted) and not os.environ.get("C_FORCE_ROOT"):
        what = "a worker that runs as root must not accept pickle: who can write to the broker would be root too"
        fix = "--uid NAME, or accept_content without pickle, or export C_FORCE_ROOT=1 if you are sure"
        raise KernelError(what, ("setting accept_content",), fix)
