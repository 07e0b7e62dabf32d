"""What a forked child must not keep of its parent: descriptors, signal handlers, timers, the event loop."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Descriptors", "be_a_child", "signals_held"]

PR_SET_PDEATHSIG = 1


@contextmanager
def signals_held() -> Iterator[set[signal.Signals | int]]:
    """Hold every signal back, so that a child gets none before its handlers are its own; yields the mask before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield set(before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Descriptors:
    """Knows which open descriptors are the parent's affair, and none of a child's.

    What was open when the pool started (log files, what the application opened at import) is the child's too, so
    that a replacement sees what the first children saw. What was opened later (the broker's connection, the siblings'
    sockets, the epoll) is not, except the files of logging handlers. Nor is a connection to somebody else, whenever it
    was made: two processes that speak on one take each other's answers.
    """

    def __init__(self) -> None:
        self._first = _links()

    def foreign(self, mine: Iterable[int]) -> list[int]:
        """Return those to shut in a child that is forked now and keeps `mine`. Empty where there is no /proc."""
        keep = {0, 1, 2, *mine, *_log_files()}
        return [fd for fd, link in _links().items() if fd not in keep and not self._was_first(fd, link)]

    def _was_first(self, fd: int, link: str) -> bool:
        never = link.startswith("anon_inode:") or _leads_elsewhere(fd, link)  # an epoll is never to be shared
        return self._first.get(fd) == link and not never


def _links() -> dict[int, str]:
    """Return what each open descriptor leads to, in the words of /proc: a path, `socket:[4711]`, ..."""
    found: dict[int, str] = {}
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        with suppress(OSError):  # the descriptor of the listing itself is closed by now
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _leads_elsewhere(fd: int, link: str) -> bool:
    """Tell whether it is a connection whose other end has a name; that of a socket pair is mostly our own."""
    if not link.startswith("socket:"):
        return False
    try:
        with socket.socket(fileno=os.dup(fd)) as found:
            return found.type == socket.SOCK_STREAM and bool(found.getpeername())
    except OSError:  # it listens, or is no socket any more
        return False


def _log_files() -> Iterator[int]:
    """Yield the descriptors that logging handlers write to."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for handler in [handler for logger in loggers for handler in getattr(logger, "handlers", ())]:
        for place in (getattr(handler, "stream", None), getattr(handler, "socket", None)):
            with suppress(Exception):  # a stream of any make: if it has no descriptor, there is nothing to keep
                yield place.fileno()  # type: ignore[union-attr]


def be_a_child(parent: int, foreign: Iterable[int], mask: Iterable[signal.Signals | int]) -> None:
    """Drop what is the parent's. Called first in a forked child, with all signals held back (see `signals_held`)."""
    die_with(parent)
    _forget_signals()
    _shut(foreign)
    _forget_loop()
    gc.freeze()  # the collector shall not touch (and so copy) the pages that are shared with the parent
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def die_with(parent: int) -> None:
    """Get TERM when the parent dies, also in the middle of a job. Linux only; elsewhere the closed socket tells."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        os._exit(0)  # it died before


def _forget_signals() -> None:
    """Put every handler of the parent back to the default, and ignore INT and HUP: what a terminal sends to all.

    On Ctrl-C, and when the terminal is closed, the parent decides.
    """
    wakeup = signal.set_wakeup_fd(-1)
    if wakeup >= 0:
        _shut([wakeup])
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in signal.valid_signals():
        if isinstance(signal.getsignal(number), Callable):  # type: ignore[arg-type]
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _shut(descriptors: Iterable[int]) -> None:
    """Let each lead to nowhere.

    Closing them would free their numbers: an object left over from the parent that closes itself later would then
    close something else of the child's.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in descriptors:
        if fd != nowhere:
            os.dup2(nowhere, fd, inheritable=False)
    os.close(nowhere)


def _forget_loop() -> None:
    """Let libraries that ask kombu for the running event loop find none."""
    hub = sys.modules.get("kombu.asynchronous.hub")
    if hub is not None:
        hub.set_event_loop(None)
