"""Every exception of the kernel.

A user's mistake is a `KernelError`: it prints in three parts (what happened, whose it is, what to do) without a
traceback, and the program ends with its `exit_status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = [
    "BootError",
    "CommandError",
    "CycleError",
    "DeadlineExceeded",
    "DuplicateName",
    "DuplicateProvider",
    "KernelError",
    "LackingCapability",
    "LoadError",
    "MissingRequirement",
    "SettingError",
    "UndeclaredAccess",
    "UnknownName",
    "WrongType",
    "did_you_mean",
]


class KernelError(Exception):
    """A mistake that the user can mend: `what` happened, `whose` it is (a line each), and what to do (`fix`)."""

    exit_status = 2
    #: The blueprint has added the step in which it was raised.
    signed = False

    def __init__(self, what: str, whose: Sequence[str] = (), fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.whose = tuple(whose)
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what, *(f"  {owner}" for owner in self.whose)]
        if self.fix:
            lines.append(f"  try: {self.fix}")
        return "\n".join(lines)


class MissingRequirement(KernelError):
    """A step needs a step or a service that is not there."""


class CycleError(KernelError):
    """Steps need each other in a circle."""


class DuplicateName(KernelError):
    """Two plugins claim one name, one setting or one command-line flag."""


class DuplicateProvider(KernelError):
    """Two steps lend one service, and nothing chooses between them."""


class WrongType(KernelError):
    """An entry point leads to something that its group cannot use."""


class SettingError(KernelError):
    """A setting is unknown or has a value of the wrong type."""


class UnknownName(KernelError):
    """A name on the command line or in a setting that nothing answers to."""


class LackingCapability(KernelError):
    """A chosen plugin cannot do what a setting asks for."""


class LoadError(KernelError):
    """A plugin or an application cannot be imported."""


class UndeclaredAccess(KernelError, AttributeError):
    """A step used a service or a setting that it did not declare."""


class DeadlineExceeded(KernelError, TimeoutError):
    """A step did not start or stop in time."""

    exit_status = 1


class CommandError(KernelError):
    """A remote command was called with wrong arguments, or does not exist."""


class BootError(KernelError):
    """All faults of one composition, found before anything was started."""

    def __init__(self, faults: Iterable[KernelError]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n\n".join(str(fault) for fault in self.faults))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest known name, or nothing when none is near."""
    from difflib import get_close_matches  # only who errs pays for it

    near = get_close_matches(name, sorted(set(known)), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
