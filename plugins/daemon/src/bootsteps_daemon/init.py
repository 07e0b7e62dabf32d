"""The init of a container: runs one program, hands signals on to it, reaps whoever is left to it, ends as it ends.

Runs as a script in a bare interpreter (`python -I -S init.py PROGRAM ARGUMENTS`), so that it is small.
"""

import os
import signal
import sys

__all__ = ["main"]

#: Not handed on: about init's own child, or its own faults.
OWN = {signal.SIGCHLD, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS}
#: What stops a process at a terminal: a background process of it may not read or write, and so would stop.
TERMINAL = {signal.SIGTTIN, signal.SIGTTOU}


def main(command: list[str]) -> int:
    """Run it; return its exit status, or 128 and the signal that killed it."""
    others = OWN | TERMINAL | {signal.SIGKILL, signal.SIGSTOP}
    waited_for = (signal.valid_signals() - others) | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    for stop in TERMINAL:
        signal.signal(stop, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        _come_to_the_front()
        for stop in TERMINAL:
            signal.signal(stop, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.execvp(command[0], command)
    while True:
        number = signal.sigwait(waited_for)
        if number != signal.SIGCHLD:
            os.kill(child, number)  # not reaped yet, so the number is its own
            continue
        ended = _reap(child)
        if ended is not None:
            return ended if ended >= 0 else 128 - ended


def _come_to_the_front() -> None:
    """Make a group of one's own, the terminal's if there is one: what is typed there shall not come twice."""
    os.setpgid(0, 0)
    if os.isatty(0):
        try:
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:
            return  # it is a terminal, but not that of this session


def _reap(child: int) -> int | None:
    """Take the exit statuses of all who have ended; return the child's if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
