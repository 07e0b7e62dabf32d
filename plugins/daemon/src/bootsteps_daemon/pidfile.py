"""The file that holds a worker's process id, and which process that is."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bootsteps import KernelError

__all__ = ["Pidfile", "owner", "wait_for_end"]

#: Seconds between two looks where a process cannot be watched.
LOOK_S = 0.05
#: The clocks of files and of processes may differ by so much, in seconds.
ABOUT_S = 2.0


class Pidfile:
    """Taken by one process at a time. Its lock (`fcntl`, so no child has it) ends with the process, whatever kills it.

    The lock alone does not tell: the file may be another program's, Celery's, which takes none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Write this process's id. A file that a dead process left is replaced. Raises `KernelError`."""
        while self._fd is None:
            fd = self._open()
            try:
                self._lock(fd)
                if self._is_there(fd):
                    self._check(fd)
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                    self._fd = fd
            finally:
                if self._fd is None:
                    os.close(fd)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            what = f"the pid file {str(self.path)!r} cannot be written: {exc.strerror}"
            raise KernelError(what, ("setting 'worker_pidfile' of bootsteps-daemon",), "--pidfile PATH") from exc

    def _lock(self, fd: int) -> None:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise self._taken(_number(os.pread(fd, 32, 0))) from exc

    def _is_there(self, fd: int) -> bool:
        """Tell whether the file that was opened still has this name: its former owner may just have removed it."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        return False

    def _check(self, fd: int) -> None:
        pid = _number(os.pread(fd, 32, 0))
        if pid not in (None, os.getpid()) and _wrote(pid, os.fstat(fd).st_mtime):
            raise self._taken(pid)

    def _taken(self, pid: int | None) -> KernelError:
        who = f"process {pid}" if pid else "a process that is about to write its number there"
        what = f"the pid file {str(self.path)!r} belongs to {who}, which is running"
        fix = f"kill -TERM {pid} ends it; or name another file: --pidfile PATH" if pid else "--pidfile PATH"
        return KernelError(what, ("setting 'worker_pidfile' of bootsteps-daemon",), fix)

    def release(self) -> None:
        """Remove the file, if it is still this process's."""
        fd, self._fd = self._fd, None
        if fd is not None:
            if self._is_there(fd):
                self.path.unlink(missing_ok=True)
            os.close(fd)


def owner(path: Path) -> int | None:
    """Return the process that wrote this pid file, if it is alive. Raises `KernelError` for what is no pid file."""
    try:
        text, written = path.read_bytes()[:32], path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise KernelError(f"the pid file {str(path)!r} cannot be read: {exc.strerror}", (), "--pidfile=PATH") from exc
    pid = _number(text)
    if pid is None and text.strip():
        raise KernelError(f"{str(path)!r} is no pid file: it begins with {text!r}", (), "--pidfile=PATH")
    return pid if pid is not None and (_is_locked(path) or _wrote(pid, written)) else None


def _is_locked(path: Path) -> bool:
    """Tell whether another process holds the file as `Pidfile` does."""
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _number(text: bytes) -> int | None:
    with suppress(ValueError):
        return int(text) if int(text) > 0 else None
    return None


def _wrote(pid: int, written: float) -> bool:
    """Tell whether a process lives and is old enough to have written a file at that time (Unix seconds).

    After a restart of the machine, or of a container, a dead worker's number belongs to somebody else soon.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, and lives
    began = _began(pid)
    return began is None or (began <= written + ABOUT_S)


def _began(pid: int) -> float | None:
    """Return when a process began (Unix seconds); inf for one that has ended and is not reaped; None: not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError, IndexError, ValueError):
        return None
    return float("inf") if fields[0] in ("Z", "X") else boot + since_boot


def wait_for_end(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait so long at most until one of the processes has ended; return those that have."""
    watched: dict[int, int] = {}
    poller, ended = select.poll(), []
    try:
        for pid in pids:
            try:
                watched[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                ended.append(pid)
        for fd in watched:
            poller.register(fd, select.POLLIN)
        events = poller.poll(0 if ended else seconds * 1000) if watched else []
        return ended + [watched[fd] for fd, _ in events]
    except (AttributeError, OSError):  # no pidfds here
        time.sleep(min(LOOK_S, seconds))
        return [pid for pid in pids if not _alive(pid)]
    finally:
        for fd in watched:
            os.close(fd)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
