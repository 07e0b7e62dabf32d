"""Where the sockets are: one folder per user, a socket per process, a link per node name."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from bootsteps import KernelError

__all__ = ["END", "address", "default_folder", "is_alive", "link_name", "names", "own_folder", "sweep"]

END = ".sock"
#: A Unix socket's name has so many bytes at most (108 on Linux, less elsewhere).
LONGEST = 100


def default_folder() -> Path:
    """Return the folder of this user's sockets; it need not be there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "bootsteps" if os.path.isabs(runtime) else Path(f"/tmp/bootsteps-{os.getuid()}")


def own_folder(folder: Path) -> Path:
    """Make the folder for this user alone, and return it. Raises `KernelError` when it is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        what = f"{folder} is not this user's own folder, so that others could stand in for this worker"
        raise KernelError(what, ("setting worker_control_socket_folder",), "set XDG_RUNTIME_DIR, or name a folder")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Lend a name for a socket that is short enough to be bound or connected to."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def is_alive(path: Path) -> bool:
    """Tell whether somebody listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe, address(path) as name:
        probe.settimeout(1.0)
        try:
            probe.connect(name)
        except BlockingIOError:  # its queue is full: it is busy
            return True
        except OSError as exc:
            return isinstance(exc, TimeoutError)
    return True


def link_name(hostname: str) -> str:
    """Return the name of a node's link."""
    return quote(hostname, safe="@") + END


def names(folder: Path) -> dict[str, Path]:
    """Return the sockets by what they may be called: pid and node name."""
    found: dict[str, Path] = {}
    with suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if path.name.endswith(END):
                found[unquote(path.name.removesuffix(END))] = path
    return found


def sweep(folder: Path) -> None:
    """Remove the sockets of processes that are no more, and their links."""
    for path in names(folder).values():
        if not is_alive(path):
            with suppress(FileNotFoundError):
                path.unlink()
