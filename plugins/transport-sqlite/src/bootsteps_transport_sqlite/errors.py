"""The errors that a user of the embedded broker can cause and mend."""

from __future__ import annotations

__all__ = ["UnusableBroker"]

DISTRIBUTION = "bootsteps-transport-sqlite"


class UnusableBroker(Exception):
    """The broker file cannot be used as asked, and a retry would not help.

    The text has three parts: what happened, whose transport it is, and what to do. It is no kombu connection
    error, so that nobody reconnects in a loop because of a wrong path.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n  transport: kernel.transports:sqlite ({_distribution()})\n  try: {remedy}")


def _distribution() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{DISTRIBUTION} {version(DISTRIBUTION)}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return DISTRIBUTION
