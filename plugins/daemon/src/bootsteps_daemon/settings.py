"""What the options of the process are."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Any

from bootsteps import Setting

__all__ = ["DETACH", "EXECUTABLE", "GID", "INIT", "PIDFILE", "UID", "UMASK"]


def _uid(value: Any) -> int:
    """Return the number of a user who exists, given by name or number."""
    try:
        return pwd.getpwnam(value).pw_uid if not str(value).isdigit() else pwd.getpwuid(int(value)).pw_uid
    except KeyError:
        raise ValueError("there is no such user") from None


def _gid(value: Any) -> int:
    try:
        return grp.getgrnam(value).gr_gid if not str(value).isdigit() else grp.getgrgid(int(value)).gr_gid
    except KeyError:
        raise ValueError("there is no such group") from None


def _umask(value: Any) -> int:
    try:
        mask = value if isinstance(value, int) else int(value, 8)
    except ValueError:
        raise ValueError("an octal number is wanted, like 027") from None
    if not 0 <= mask <= 0o777:
        raise ValueError("an octal number from 0 to 777 is wanted")
    return mask


def _program(value: Any) -> str:
    import shutil

    found = shutil.which(os.path.expanduser(str(value)))
    if found is None:
        raise ValueError("there is no such program")
    return found


DETACH = Setting[bool](
    "worker_detach", bool, False, flags=("-D", "--detach"), help="run in the background, without a terminal"
)
PIDFILE = Setting[str | None](
    "worker_pidfile",
    str,
    None,
    flags=("--pidfile",),
    help="keep the process id in this file; %p, %n, %h, %d as in --logfile",
)
UID = Setting[int | None]("worker_uid", _uid, None, flags=("--uid",), help="run as this user (name or number)")
GID = Setting[int | None]("worker_gid", _gid, None, flags=("--gid",), help="run with this group (name or number)")
UMASK = Setting[int | None]("worker_umask", _umask, None, flags=("--umask",), help="of new files, octal: 027")
EXECUTABLE = Setting[str | None](
    "worker_executable", _program, None, flags=("--executable",), help="the Python that runs the detached worker"
)
INIT = Setting[bool](
    "worker_init",
    bool,
    True,
    flags=(),
    help="as PID 1 of a container be its init too: hand signals on, reap orphans",
)
