"""Patience with a database that cannot be reached for a moment."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from bootsteps.errors import KernelError
from bootsteps_result_sql.settings import WHERE
from bootsteps_tasks.places import mask_url

__all__ = ["patiently"]

T = TypeVar("T")

#: The first attempt after a failure is at once: mostly an idle connection was closed. Then seconds between two.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


def patiently(call: Callable[[], T], url: str, deadline_s: float) -> T:
    """Call again while the database cannot be reached. Raises `KernelError` for what does not go away in time."""
    until, pause = monotonic() + deadline_s, 0.0
    while True:
        try:
            return call()
        except SQLAlchemyError as exc:
            if not _passes(exc):
                raise _refused(url, exc) from exc
            if monotonic() + pause >= until:
                what = f"the result database {mask_url(url)} cannot be used: {_text(exc)}"
                raise KernelError(what, WHERE, "start it, or correct result_backend") from exc
            sleep(pause)
            pause = min(max(FIRST_PAUSE_S, 2 * pause), LONGEST_PAUSE_S)


def _passes(exc: SQLAlchemyError) -> bool:
    if isinstance(exc, DBAPIError) and exc.connection_invalidated:
        return True
    # A wrong password is an OperationalError too: for that the patience ends after its seconds.
    return isinstance(exc, InterfaceError | OperationalError)


def _refused(url: str, exc: SQLAlchemyError) -> KernelError:
    what = f"the result database {mask_url(url)} refuses: {_text(exc)}"
    return KernelError(what, WHERE, "look at the rights of the user in result_backend, and at the server's log")


def _text(exc: SQLAlchemyError) -> str:
    """The driver's own words, without the statement and its values: those are results."""
    return str(getattr(exc, "orig", None) or exc).strip().splitlines()[0]
