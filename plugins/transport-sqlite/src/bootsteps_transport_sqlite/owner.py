"""Who holds messages: a locked file that the system unlocks with its process, and a socket to wake it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from bootsteps_transport_sqlite.errors import UnusableBroker
from bootsteps_transport_sqlite.place import SOCKET_NAME_LENGTH, Place

__all__ = ["Owner", "Waker", "is_dead", "sweep"]


class Owner:
    """This process's right to hold messages: a locked file, and a bound datagram socket beside it.

    The lock is one of `fcntl.lockf`: it belongs to the process, is not inherited by a fork, and goes with the
    process however that dies.
    """

    def __init__(self, place: Place) -> None:
        self.pid = os.getpid()
        self._place = place
        self.token = uuid4().hex
        self.lock_path = _lock_path(place.locks, self.token)
        self.socket_path = place.sockets / f"{self.token}.sock"
        assert len(self.socket_path.name) <= SOCKET_NAME_LENGTH
        #: The row in the table `owner`; 0 until it is written.
        self.id = 0
        _held.add(self.token)  # before the file exists, so that no thread of ours tests it
        self._lock = _lock_new(self.lock_path)
        place.prepare_sockets()
        self.socket = _bind(self.socket_path)
        _forget_in_children(self)

    def fileno(self) -> int:
        """Return the descriptor that is readable once somebody published for us."""
        return self.socket.fileno()

    def is_unknown(self) -> bool:
        """Say whether somebody removed our lock file, so that the others take us for dead."""
        return not self.lock_path.exists()

    def drain(self) -> None:
        """Take the wake-ups that are there. Look for messages after this, never before: else one is lost."""
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(16):
                pass

    def poke(self) -> None:
        """Wake our own loop."""
        with contextlib.suppress(OSError):
            self.socket.sendto(b"w", os.fspath(self.socket_path))

    def release(self) -> None:
        """Remove the files and drop the lock; the row must be gone before."""
        if self.pid == os.getpid():
            for path in (self.socket_path, self.lock_path):
                path.unlink(missing_ok=True)
            self._place.tidy_sockets()
        self.abandon()

    def abandon(self) -> None:
        """Close our descriptors. In a forked child this leaves the parent's lock alone."""
        self.socket.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        _held.discard(self.token)

    def __del__(self) -> None:
        if getattr(self, "_lock", -1) >= 0:
            self.abandon()


class Waker:
    """Sends wake-ups; one for each process and thread that publishes."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._pid = 0

    def wake(self, addresses: tuple[str, ...]) -> None:
        """Send one datagram to each. A full socket is awake already, one that is gone will be reaped."""
        out = self._socket
        if out is None or self._pid != os.getpid():
            out = self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            out.setblocking(False)
            self._pid = os.getpid()
        for address in addresses:
            with contextlib.suppress(OSError):
                out.sendto(b"w", address)

    def close(self) -> None:
        """Close the socket; the next wake-up opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def is_dead(locks: Path, token: str) -> bool:
    """Say whether the process that held a lock file is gone."""
    return _if_dead(locks, token, lambda: None)


def sweep(place: Place, known: set[str]) -> None:
    """Remove the files of dead processes that have no row: those that died while they started or stopped."""
    found = {path.stem for path in [*place.locks.glob("*.lock"), *place.sockets.glob("*.sock")]}
    for token in sorted(found - known):
        _if_dead(place.locks, token, lambda token=token: _unlink(place, token))  # type: ignore[misc]


def _unlink(place: Place, token: str) -> None:
    (place.sockets / f"{token}.sock").unlink(missing_ok=True)
    _lock_path(place.locks, token).unlink(missing_ok=True)
    place.tidy_sockets()


def _if_dead(locks: Path, token: str, then: Callable[[], None]) -> bool:
    """Do `then` if the holder of a lock is gone, under its lock, so that no new holder comes in between.

    Never opens a file that this process holds: closing it would drop our own lock (fcntl(2)).
    """
    if token in _held:
        return False
    try:
        lock = os.open(_lock_path(locks, token), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        then()
        return True
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        then()
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _lock_path(locks: Path, token: str) -> Path:
    return locks / f"{token}.lock"


def _lock_new(path: Path) -> int:
    """Create and lock a file; again when a sweep of another process took it in between."""
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        try:
            if os.stat(path).st_ino == os.fstat(lock).st_ino:
                return lock
        except FileNotFoundError:
            pass
        os.close(lock)


def _bind(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.setblocking(False)
    try:
        bound.bind(os.fspath(path))
    except OSError as exc:
        bound.close()
        raise UnusableBroker(
            f"the consumer's wake-up socket {path} cannot be made: {exc}",
            "a shorter path of the broker file, or set XDG_RUNTIME_DIR to a short private folder",
        ) from exc
    path.chmod(0o600)
    return bound


# POSIX locks belong to the process; so does the register of those that it holds.
_held: set[str] = set()  # tokens
_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
_hooked: list[bool] = []


def _forget_in_children(owner: Owner) -> None:
    _owners.add(owner)
    if not _hooked:
        _hooked.append(True)
        os.register_at_fork(after_in_child=_abandon_all)


def _abandon_all() -> None:
    # At once and not when collected: pool children close every inherited descriptor by number, and the number
    # may soon be another file's.
    for owner in list(_owners):
        owner.abandon()
